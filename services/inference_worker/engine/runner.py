"""What the generator's loop asks of whatever computes a step."""

from __future__ import annotations

from collections.abc import Sequence as Rows
from typing import Protocol

from torch import Tensor

from services.inference_worker.engine.sequence import Segment


class Runner(Protocol):
    """A loaded model on a device with a cache of its own. One step is one call."""

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together."""

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this."""

    @property
    def end_token_ids(self) -> frozenset[int]:
        """The tokens with which the model ends an answer."""

    @property
    def memory_bytes(self) -> int:
        """What weights and cache take."""

    def forward(self, segments: Rows[Segment]) -> Tensor:
        """Read the segments and return the logits after each complete one, float32 [complete, vocabulary].

        Keys and values go to the cache at each sequence's offset. The caller moves `computed` on.
        """
