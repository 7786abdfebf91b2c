"""Text out of a stream of token ids: what is sent, joined, is what decoding all ids at once would give."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.front.vocabulary import Vocabulary

# How many of a prompt's last ids are tried as context, until their text ends with a whole character.
_CONTEXTS = (4, 16, 64)
# A character is 4 ids at most; so many ids without a whole character at their end are no text.
_MOST_PENDING = 64
_BROKEN = "\ufffd"


class Detokenizer:
    """Turns ids into text as they come, in about a microsecond an id.

    How an id reads depends on its left neighbours: bytes make characters together, and tokenizers that mark
    the beginnings of words drop the space before the first one. So the ids of the last piece are decoded
    again with the new ones, and only what is added is sent. A piece that ends amid a character is held back.

    `context` is the prompt where the answer goes on from it, and so begins with the space that parts the two;
    it is empty for an answer that stands for itself.
    """

    def __init__(self, vocabulary: Vocabulary, context: Sequence[int] = ()) -> None:
        self._decode = vocabulary.decode
        self._window, self._prefix = self._anchor(context)
        self._pending: list[int] = []

    def feed(self, ids: Sequence[int]) -> str:
        """Take the next ids and return the text that is sure now; it may be empty."""
        self._pending += ids
        text = self._decode(self._window + self._pending)
        if text.endswith(_BROKEN) and len(self._pending) <= _MOST_PENDING:
            return ""
        return self._take(text)

    def flush(self) -> str:
        """Return the text that is still held back, half a character as U+FFFD: the ids have ended."""
        return self._take(self._decode(self._window + self._pending)) if self._pending else ""

    def _take(self, text: str) -> str:
        if text == self._prefix:  # special ids add nothing, however many they are
            self._pending = self._pending[-_MOST_PENDING:]
            return ""
        # What was sent reads differently now only where a byte came that cannot follow it: byte fallback then
        # gives up the whole run of bytes. It stays as it was sent.
        added = text[len(self._prefix) :] if text.startswith(self._prefix) else self._decode(self._pending)
        self._window, self._pending = self._pending, []
        self._prefix = self._decode(self._window)
        return added

    def _anchor(self, context: Sequence[int]) -> tuple[list[int], str]:
        for count in _CONTEXTS:
            window = list(context[-count:])
            text = self._decode(window)
            if text and not text.endswith(_BROKEN):
                return window, text
        return [], ""
