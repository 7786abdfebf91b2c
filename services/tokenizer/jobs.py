"""One call's work for the encoder: what to encode, and what becomes of the sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.tokenizer.backend import TokenSequence
from services.tokenizer.inputs import EncodeOptions, Input
from services.tokenizer.limits import check_answer
from services.tokenizer.shaping import Encoded, pad, padded_length, shape


class Job(Protocol):
    """What the encoder asks of a call. `take` and `finish` run on its thread."""

    @property
    def inputs(self) -> Sequence[Input]:
        """What to encode."""
        ...

    @property
    def options(self) -> EncodeOptions:
        """How to encode it."""
        ...

    def take(self, sequence: TokenSequence) -> Any:
        """Return what the call keeps of one sequence."""
        ...

    def finish(self, kept: Sequence[Any]) -> Any:
        """Return the call's result, from what it kept in the order of `inputs`."""
        ...


@dataclass(frozen=True)
class EncodeJob:
    """Encode: ids and the lists asked for. `pad_id` fills up."""

    inputs: Sequence[Input]
    options: EncodeOptions
    pad_id: int
    special_ids: frozenset[int]

    def take(self, sequence: TokenSequence) -> Encoded:
        """Return the sequence as it is sent, but for padding."""
        return shape(sequence, self.options, self.special_ids)

    def finish(self, kept: Sequence[Encoded]) -> Sequence[Encoded]:
        """Return the sequences, filled up if asked for; raises ResourceExhausted for too many tokens."""
        check_answer(sum(len(each.ids) for each in kept))
        padding = self.options.padding
        if padding is None:
            return kept
        length = padded_length(max(len(each.ids) for each in kept), padding)
        check_answer(length * len(kept))
        return [pad(each, length, self.pad_id, left=padding.left) for each in kept]


@dataclass(frozen=True)
class CountJob:
    """CountTokens: nothing but the lengths."""

    inputs: Sequence[Input]
    options: EncodeOptions

    def take(self, sequence: TokenSequence) -> int:
        """Return the number of tokens."""
        return len(sequence)

    def finish(self, kept: Sequence[int]) -> Sequence[int]:
        """Return the counts."""
        return kept
