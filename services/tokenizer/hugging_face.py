"""Tokenizers of Hugging Face's library: Rust, its own thread pool, the GIL released while it works."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer as RustTokenizer

from services.tokenizer.backend import EncodeError, Item, TokenSequence


class HuggingFaceTokenizer:
    """A `tokenizer.json`. Nothing is ever set on the shared object once it is loaded."""

    def __init__(self, artifact: bytes) -> None:
        """Load the bytes of a `tokenizer.json`; raises ValueError."""
        try:
            rust = RustTokenizer.from_buffer(artifact)
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"the tokenizer.json cannot be used: {error}") from error
        # Files carry the settings of whoever saved them, such as cutting at 128 tokens. Each request has its
        # own.
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self.vocabulary_size = max(rust.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        added = rust.get_added_tokens_decoder()
        self.special_ids = frozenset(index for index, token in added.items() if token.special)

    def added_tokens(self, *, pair: bool) -> int:
        """Return how many special tokens are put around an item."""
        return self._rust.num_special_tokens_to_add(pair)

    def token_id(self, text: str) -> int | None:
        """Return the id of a token by its text."""
        return self._rust.token_to_id(text)

    def encode(
        self, items: Sequence[Item], *, add_special_tokens: bool, offsets: bool
    ) -> Sequence[TokenSequence]:
        """Return one sequence an item; raises EncodeError. Without offsets it is the library's faster way."""
        run = self._rust.encode_batch if offsets else self._rust.encode_batch_fast
        try:
            return run(list(items), add_special_tokens=add_special_tokens)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in Rust arrives as a BaseException
            raise EncodeError(str(error)) from error

    def decode(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Return one text a sequence."""
        return self._rust.decode_batch(list(sequences), skip_special_tokens=skip_special_tokens)
