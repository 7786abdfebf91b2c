"""The text side of one answer: ids become text, and a stop string ends it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.front.calls import Ids, Reason, TextDelta, TextFinish, TokenDelta, TokenFinish, Usage
from gateway.front.detokenizer import Detokenizer
from gateway.front.stops import StopScanner


class Answer:
    """Turns what a worker makes of a prompt of `prompt_tokens` into what a caller reads.

    Without a detokeniser (see `generation`) every text is empty.
    """

    def __init__(
        self, detokenizer: Detokenizer | None, stops: Sequence[str], version: str, prompt_tokens: int
    ) -> None:
        self._detokenizer = detokenizer
        self._scanner = StopScanner(stops)
        self._watchful = bool(stops)
        self._version = version
        self._prompt_tokens = prompt_tokens
        self._made = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met: nothing more is to be read, and `cut` gives the end."""
        return self._scanner.matched is not None

    def read(self, delta: TokenDelta) -> TextDelta:
        """Return `delta` with the text that is sure now, cut after the token that completes a stop string."""
        if self._detokenizer is None:
            return TextDelta("", delta.ids, delta.logprobs)
        text, count = self._read(self._detokenizer, delta.ids)
        self._made += count
        if count == len(delta.ids):
            return TextDelta(text, delta.ids, delta.logprobs)
        return TextDelta(text, delta.ids[:count], delta.logprobs[:count])

    def rest(self) -> str:
        """Return the text that is still held back: the worker has made its last token."""
        if self._detokenizer is None:
            return ""
        return self._scanner.feed(self._detokenizer.flush()) + self._scanner.flush()

    def finish(self, end: TokenFinish) -> TextFinish:
        """Return the end of an answer that the worker ended. Call `rest` first: it can meet a stop string."""
        reason = Reason.STOP if self.stopped else end.reason
        return TextFinish(reason, end.usage, self._version, self._scanner.matched, end.timings)

    def cut(self) -> TextFinish:
        """Return the end of an answer that a stop string ended."""
        usage = Usage(self._prompt_tokens, self._made)
        return TextFinish(Reason.STOP, usage, self._version, self._scanner.matched)

    def _read(self, detokenizer: Detokenizer, ids: Ids) -> tuple[str, int]:
        """Return the text of `ids` and how many were read: one by one where the place of a stop counts."""
        if not self._watchful:
            return detokenizer.feed(ids), len(ids)
        pieces: list[str] = []
        for count, each in enumerate(ids, start=1):
            pieces.append(self._scanner.feed(detokenizer.feed([each])))
            if self.stopped:
                return "".join(pieces), count
        return "".join(pieces), len(ids)
