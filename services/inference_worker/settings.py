"""The worker's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.inference_worker.wire import Limits
from services.kit.mesh import entry
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings
from services.store.settings import StoreSettings
from services.store.spec import DTYPES


@dataclass(frozen=True)
class WorkerSettings:
    """Where the worker listens, what it serves and how much of it at once."""

    listen: str = setting(entry("inference_worker").address, "The address to listen on.")
    store: StoreSettings = field(default_factory=StoreSettings)
    dtype: str = setting(
        "", "The type of all weights: bfloat16, float16, float32. Empty: as the catalogue says."
    )
    max_sequences: int = setting(32, "Sequences that one model works on at once.", unit="sequences")
    max_queue: int = setting(256, "Requests that wait for one model; more are refused.", unit="requests")
    cache_tokens: int = setting(
        32_768, "Tokens of keys and values that one model keeps; less where memory is short.", unit="tokens"
    )
    prefill_tokens: int = setting(
        256, "Prompt tokens read in one step, beside the running streams' next tokens.", unit="tokens"
    )
    batch_tokens: int = setting(1_024, "Tokens of one batch of an encoder, with padding.", unit="tokens")
    engine_threads: int = setting(0, "Threads of an engine on the CPU. 0: one a core.", unit="threads")
    drain_s: float = setting(10.0, "How long running calls may go on when the worker stops.", unit="seconds")
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in DTYPES:
            raise ValueError(f"TRUNKLINE_DTYPE must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        positive = ("max_sequences", "max_queue", "cache_tokens", "prefill_tokens", "batch_tokens")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"TRUNKLINE_{name.upper()} must be at least 1, not {getattr(self, name)}")
        if self.engine_threads < 0 or self.drain_s < 0:
            raise ValueError("TRUNKLINE_ENGINE_THREADS and TRUNKLINE_DRAIN_S must not be negative")

    @property
    def limits(self) -> Limits:
        """Return what one model may take on at once."""
        return Limits(
            running=self.max_sequences,
            cache_tokens=self.cache_tokens,
            prefill_tokens=self.prefill_tokens,
            batch_tokens=self.batch_tokens,
        )
