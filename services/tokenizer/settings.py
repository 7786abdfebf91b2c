"""The tokenizer's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kit.mesh import entry
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings
from services.store.settings import StoreSettings
from services.tokenizer.batcher import QueueLimits


@dataclass(frozen=True)
class TokenizerSettings:
    """Where the tokenizer listens, which models it knows and how much may wait for one of them."""

    listen: str = setting(entry("tokenizer").address, "The address to listen on.")
    store: StoreSettings = field(default_factory=StoreSettings)
    tokenizer_max_queue: int = setting(
        1_024, "Calls that wait for one tokenizer; more are refused.", unit="calls"
    )
    tokenizer_max_queue_text: int = setting(
        256 << 20, "Text that waits for one tokenizer; more is refused.", unit="characters"
    )
    tokenizer_batch_text: int = setting(1 << 20, "Text that travels as one batch.", unit="characters")
    tokenizer_threads: int = setting(
        4,
        "Batches of different tokenizers that run at once; each uses the cores that are free.",
        unit="threads",
    )
    drain_s: float = setting(
        10.0, "How long running calls may go on when the tokenizer stops.", unit="seconds"
    )
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        for name in ("max_queue", "max_queue_text", "batch_text", "threads"):
            if getattr(self, f"tokenizer_{name}") < 1:
                raise ValueError(f"TRUNKLINE_TOKENIZER_{name.upper()} must be at least 1")
        if self.drain_s < 0:
            raise ValueError("TRUNKLINE_DRAIN_S must not be negative")

    @property
    def limits(self) -> QueueLimits:
        """Return how much may wait for one tokenizer."""
        return QueueLimits(self.tokenizer_max_queue, self.tokenizer_max_queue_text, self.tokenizer_batch_text)
