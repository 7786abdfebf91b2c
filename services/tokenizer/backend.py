"""What a tokenizer library must do for this service: a small protocol with two implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Item = str | tuple[str, str]
"""A text, or two that belong together."""


class TokenSequence(Protocol):
    """An encoded item, before anything is cut or filled. All lists are of one length, made when asked for."""

    @property
    def ids(self) -> Sequence[int]:
        """The token ids."""
        ...

    @property
    def offsets(self) -> Sequence[tuple[int, int]]:
        """Where each token stands in its text, in code points; (0, 0) for tokens that were added."""
        ...

    @property
    def type_ids(self) -> Sequence[int]:
        """0 for the first text of a pair and its special tokens, 1 for the second's."""
        ...

    @property
    def sequence_ids(self) -> Sequence[int | None]:
        """0 and 1 for tokens of the first and second text, None for tokens that were added."""
        ...

    def __len__(self) -> int:
        """Return the number of tokens."""
        ...


class EncodeError(Exception):
    """The library cannot encode an item: a character that its vocabulary lacks, and no unknown token."""


class Tokenizer(Protocol):
    """A loaded tokenizer. Immutable: safe to call from many threads at once."""

    vocabulary_size: int
    """Ids are below this."""
    special_ids: frozenset[int]
    """The ids of special tokens."""

    def added_tokens(self, *, pair: bool) -> int:
        """Return how many special tokens are put around an item."""
        ...

    def token_id(self, text: str) -> int | None:
        """Return the id of a token by its text, None where the vocabulary has no such token."""
        ...

    def encode(
        self, items: Sequence[Item], *, add_special_tokens: bool, offsets: bool
    ) -> Sequence[TokenSequence]:
        """Return one sequence an item; special tokens that a text spells become their ids.

        `offsets` False allows the offsets to be wrong. Raises EncodeError.
        """
        ...

    def decode(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Return one text a sequence. Ids must be below `vocabulary_size`."""
        ...
