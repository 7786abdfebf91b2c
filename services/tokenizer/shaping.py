"""Cutting, filling and choosing lists: what is done to a sequence after it was encoded.

The tokenizers library can cut and fill by itself, but only by settings on the object that all requests share.
So it is done here, a sequence at a time, to the same result: special tokens stay, the texts' own tokens go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from services.tokenizer.backend import TokenSequence
from services.tokenizer.inputs import EncodeOptions, Padding, Truncation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded input as it is sent; None for a list that was not asked for, else all are of one length."""

    ids: Sequence[int]
    offsets: Sequence[tuple[int, int]] | None = None
    attention_mask: Sequence[int] | None = None
    special_tokens_mask: Sequence[int] | None = None
    type_ids: Sequence[int] | None = None
    truncated_tokens: int = 0


def shape(sequence: TokenSequence, options: EncodeOptions, special_ids: frozenset[int]) -> Encoded:
    """Return what is asked for of `sequence`, cut if it is too long."""
    length = len(sequence)
    kept = _kept(sequence, options.truncation) if options.truncation else None
    ids = _pick(sequence.ids, kept)
    return Encoded(
        ids=ids,
        offsets=_pick(sequence.offsets, kept) if options.offsets else None,
        attention_mask=[1] * len(ids) if options.attention_mask else None,
        special_tokens_mask=_special(sequence, ids, kept, special_ids)
        if options.special_tokens_mask
        else None,
        type_ids=_pick(sequence.type_ids, kept) if options.type_ids else None,
        truncated_tokens=length - len(ids),
    )


def padded_length(longest: int, padding: Padding) -> int:
    """Return the length that sequences of at most `longest` tokens are filled to."""
    length = longest if padding.length is None else padding.length
    step = max(padding.multiple_of, 1)
    return -(-length // step) * step


def pad(encoded: Encoded, length: int, pad_id: int, *, left: bool) -> Encoded:
    """Return `encoded` filled to `length` tokens; a longer one is left as it is."""
    missing = length - len(encoded.ids)
    if missing <= 0:
        return encoded
    return replace(
        encoded,
        ids=_filled(encoded.ids, pad_id, missing, left),
        offsets=encoded.offsets and _filled(encoded.offsets, (0, 0), missing, left),
        attention_mask=_mask(encoded.attention_mask, 0, missing, left),
        special_tokens_mask=_mask(encoded.special_tokens_mask, 1, missing, left),
        type_ids=_mask(encoded.type_ids, 0, missing, left),
    )


def _kept(sequence: TokenSequence, truncation: Truncation) -> list[int] | None:
    """Return the places that stay, None for all of them.

    Special tokens stay. Of a pair, the longer text loses until both are of one length, then both do: the
    tokenizers library's "longest first".
    """
    if len(sequence) <= truncation.max_tokens:
        return None
    owners = sequence.sequence_ids
    first, second = owners.count(0), owners.count(1)
    room = max(truncation.max_tokens - (len(owners) - first - second), 0)
    rooms = _rooms(first, second, room)
    skipped = (first - rooms[0], second - rooms[1]) if truncation.left else (0, 0)
    seen = [0, 0]
    kept = []
    for place, owner in enumerate(owners):
        if owner is None:
            kept.append(place)
            continue
        if skipped[owner] <= seen[owner] < skipped[owner] + rooms[owner]:
            kept.append(place)
        seen[owner] += 1
    return kept


def _rooms(first: int, second: int, room: int) -> tuple[int, int]:
    """Share `room` tokens out between texts of `first` and `second` tokens."""
    shorter = min(first, second, room // 2)
    return (
        (shorter, min(second, room - shorter)) if first <= second else (min(first, room - shorter), shorter)
    )


def _special(
    sequence: TokenSequence, ids: Sequence[int], kept: list[int] | None, special_ids: frozenset[int]
) -> list[int]:
    owners = _pick(sequence.sequence_ids, kept)
    return [int(owner is None or each in special_ids) for owner, each in zip(owners, ids, strict=True)]


def _pick(values: Sequence[T], kept: list[int] | None) -> Sequence[T]:
    return values if kept is None else [values[place] for place in kept]


def _mask(values: Sequence[int] | None, value: int, count: int, left: bool) -> Sequence[int] | None:  # noqa: FBT001
    return None if values is None else _filled(values, value, count, left)


def _filled(values: Sequence[T], value: T, count: int, left: bool) -> list[T]:  # noqa: FBT001 - passed on
    return [value] * count + list(values) if left else list(values) + [value] * count
