"""What the engine asks of whatever computes: a step of a decoder, a batch of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.inference_worker.engine.batch import Floats, Ints, RaggedBatch


class DeviceLost(Exception):  # noqa: N818 - no error of a step: the device is gone for this process
    """The device fails whatever it is asked from now on: the process must end, and a new one take over."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of a step, a row for each wanted row of the batch. Valid until the runner's next step."""

    likeliest: Ints
    """The token with the highest logit, the first of equals; int32 [wanted]."""
    logits: Floats
    """Float32 [wanted, vocabulary]; [0, vocabulary] will do where the batch asks for none."""


class Runner(Protocol):
    """A loaded decoder on a device, with a cache of `blocks` blocks of its own. One step is one call.

    A row's result depends on its sequence alone: not on who shares the batch, nor on how the sequence was cut
    into steps. (The torch runner promises that in float32 only.)
    """

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
    def blocks(self) -> int:
        """Blocks of the cache; their ids are below this."""

    @property
    def memory_bytes(self) -> int:
        """What weights and cache take."""

    def step(self, batch: RaggedBatch) -> StepResult:
        """Read the rows: put their keys and values into the cache, and return the logits that are wanted.

        Raises DeviceLost where a new process is needed; after any other exception the next step may work.
        """


class EncoderRunner(Protocol):
    """A loaded encoder on a device."""

    @property
    def context_length(self) -> int:
        """The most tokens of one input."""

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this."""

    @property
    def dimensions(self) -> int:
        """Numbers in a token's state."""

    @property
    def memory_bytes(self) -> int:
        """What the weights take."""

    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        """Return the state of every token, float32 [tokens, dimensions], valid until the next call.

        `tokens` holds the inputs one after the other, without padding, `lengths` how long each is.
        """
