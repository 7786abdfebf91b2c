"""The worker's settings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from services.inference_worker.engine.batch import BLOCK_TOKENS
from services.inference_worker.wire import Limits
from services.kit.mesh import entry
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings
from services.store.settings import StoreSettings
from services.store.spec import DTYPES


@dataclass(frozen=True)
class EngineOptions:
    """How engines run."""

    threads: int = 0
    """Of an engine on the processor; 0: one for each core that it may use."""
    cores: tuple[int, ...] = ()
    """The cores that it may use; none named: all that this process may."""
    silence_s: float = 60.0
    """An engine that owes answers and says nothing for so long is started anew."""


@dataclass(frozen=True)
class WorkerSettings:
    """Where the worker listens, what it serves and how much of it at once."""

    listen: str = setting(entry("inference_worker").address, "The address to listen on.")
    store: StoreSettings = field(default_factory=StoreSettings)
    dtype: str = setting("", f"How all weights are held: {', '.join(DTYPES)}. Empty: as the catalogue says.")
    max_sequences: int = setting(32, "Sequences that one model works on at once.", unit="sequences")
    max_queue: int = setting(256, "Requests that wait for one model; more are refused.", unit="requests")
    cache_tokens: int = setting(
        65_536,
        "Tokens of keys and values that one model keeps, prefixes of earlier requests included; less where "
        "memory is short. 0: as many as its sequences can have, within nine tenths of the memory.",
        unit="tokens",
    )
    prefill_tokens: int = setting(
        512,
        "The most prompt tokens read in one step, beside the running streams' next tokens.",
        unit="tokens",
    )
    step_ms: float = setting(
        10.0,
        "How long a step may always take while streams wait for their next tokens; prompts are read in what "
        "those leave of it. A larger model's steps take longer.",
        unit="milliseconds",
    )
    batch_tokens: int = setting(1_024, "Tokens of one batch of an encoder, with padding.", unit="tokens")
    engine_threads: int = setting(0, "Threads of an engine on the CPU. 0: one a core.", unit="threads")
    engine_cores: tuple[str, ...] = setting(
        (),
        "Cores that an engine on the CPU keeps to, such as 0-5,8. Empty: all; right where other processes "
        "of the mesh share them.",
    )
    engine_silence_s: float = setting(
        60.0, "An engine that owes answers and says nothing for so long is started anew.", unit="seconds"
    )
    drain_s: float = setting(10.0, "How long running calls may go on when the worker stops.", unit="seconds")
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in DTYPES:
            raise ValueError(f"TRUNKLINE_DTYPE must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        for name in ("max_sequences", "max_queue", "prefill_tokens", "batch_tokens", "step_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"TRUNKLINE_{name.upper()} must be at least 1, not {getattr(self, name)}")
        if 0 != self.cache_tokens < BLOCK_TOKENS:
            raise ValueError(
                f"TRUNKLINE_CACHE_TOKENS must be 0 or at least {BLOCK_TOKENS}, not {self.cache_tokens}"
            )
        if self.engine_threads < 0 or self.drain_s < 0:
            raise ValueError("TRUNKLINE_ENGINE_THREADS and TRUNKLINE_DRAIN_S must not be negative")
        if self.engine_silence_s <= 0:
            raise ValueError(f"TRUNKLINE_ENGINE_SILENCE_S must be above 0, not {self.engine_silence_s}")
        if self.engine.cores and not set(self.engine.cores) <= os.sched_getaffinity(0):
            there = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            raise ValueError(f"TRUNKLINE_ENGINE_CORES names cores that are not here; these are: {there}")

    @property
    def limits(self) -> Limits:
        """Return what one model may take on at once."""
        return Limits(
            running=self.max_sequences,
            cache_tokens=self.cache_tokens,
            prefill_tokens=self.prefill_tokens,
            step_ms=self.step_ms,
            batch_tokens=self.batch_tokens,
        )

    @property
    def engine(self) -> EngineOptions:
        """Return how engines run; raises ValueError for cores that are none."""
        cores = sorted({core for part in self.engine_cores for core in _cores(part)})
        return EngineOptions(self.engine_threads, tuple(cores), self.engine_silence_s)


def _cores(part: str) -> range:
    """Return the cores that "3" or "0-5" stands for."""
    first, dash, last = part.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise ValueError(f"TRUNKLINE_ENGINE_CORES must be numbers and ranges such as 0-5,8, not {part!r}")
    return range(int(first), int(last or first) + 1)
