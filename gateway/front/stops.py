"""Stop strings in a stream of text: found across pieces, and never half sent."""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Cuts a text off before its first stop string, whatever pieces the text comes in.

    The stop string that is complete first wins; of two that are complete at the same character, the longer.
    Text that may be the beginning of a stop string is held back until the next pieces decide. `matched` is
    the stop string that was met, or None; once it is set, nothing more comes out. No stop string is empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.matched: str | None = None
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece of the text and return what of the text can be sent."""
        if not self._stops or self.matched is not None:
            return "" if self.matched is not None else piece
        text = self._held + piece
        met = min((found for stop in self._stops if (found := _find(text, stop))), default=None)
        if met is not None:
            end, negative_length, self.matched = met
            self._held = ""
            return text[: end + negative_length]
        sure = len(text) - max(_beginning(text, stop) for stop in self._stops)
        self._held = text[sure:]
        return text[:sure]

    def flush(self) -> str:
        """Return what is still held back: the text has ended and no stop string was met in it."""
        held, self._held = self._held, ""
        return held


def _find(text: str, stop: str) -> tuple[int, int, str] | None:
    """Return where the first `stop` in `text` ends, so that the least tuple is the winner."""
    start = text.find(stop)
    return (start + len(stop), -len(stop), stop) if start >= 0 else None


def _beginning(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` are the longest unfinished beginning of `stop`."""
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0:
        if stop.startswith(text[start:]):
            return len(text) - start
        start = text.find(stop[0], start + 1)
    return 0
