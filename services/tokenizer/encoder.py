"""The encoder: the jobs of many calls become few calls of the library, and each job gets its own outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from services.kit.errors import Cancelled, FailedPrecondition, Reason, TrunklineError, invalid
from services.tokenizer.backend import EncodeError, Item, Tokenizer
from services.tokenizer.batcher import Abandoned
from services.tokenizer.chat_template import ChatTemplate
from services.tokenizer.inputs import Chat, Input, Pair, Text
from services.tokenizer.jobs import Job

_CHUNK_CHARACTERS = 1 << 20
"""The most text in one call of the library: an encoded token takes it about 150 bytes until it is shaped."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One input of one job, ready for the library."""

    job: int
    place: int
    item: Item
    add_special_tokens: bool
    offsets: bool

    @property
    def size(self) -> int:
        return len(self.item) if isinstance(self.item, str) else sum(map(len, self.item))


class Encoder:
    """Encodes for one model. `run` blocks and is thread-safe; nothing is changed by it."""

    def __init__(self, model: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._template = template

    def run(self, jobs: Sequence[Job], abandoned: Abandoned) -> list[Any]:
        """Return one outcome a job: its result, or the TrunklineError that it alone fails with."""
        kept: list[list[Any]] = [[None] * len(job.inputs) for job in jobs]
        failures: dict[int, TrunklineError] = {}
        parts = [part for number, job in enumerate(jobs) for part in self._parts(number, job, failures)]
        for chunk in _chunks(parts):
            if abandoned():
                return [Cancelled(Reason.CANCELLED, "nobody waits for the answer") for _ in jobs]
            for part, sequence in zip(chunk, self._encode(chunk), strict=True):
                if isinstance(sequence, EncodeError):
                    failures[part.job] = invalid(
                        f"inputs[{part.place}]", "cannot be written in this vocabulary"
                    )
                else:
                    kept[part.job][part.place] = jobs[part.job].take(sequence)
        return [failures.get(number) or _finished(job, kept[number]) for number, job in enumerate(jobs)]

    def _parts(self, number: int, job: Job, failures: dict[int, TrunklineError]) -> list[_Part]:
        """Return a job's parts; on failure none, and the reason in `failures`."""
        try:
            return [self._part(number, job, place, each) for place, each in enumerate(job.inputs)]
        except TrunklineError as error:
            failures[number] = error
            return []

    def _part(self, number: int, job: Job, place: int, given: Input) -> _Part:
        special = job.options.add_special_tokens and not isinstance(given, Chat)
        added = self._tokenizer.added_tokens(pair=isinstance(given, Pair)) if special else 0
        truncation = job.options.truncation
        if truncation is not None and truncation.max_tokens < added:
            description = (
                f"must be at least {added}, as many as there are special tokens around inputs[{place}]"
            )
            raise invalid("truncation.max_tokens", description)
        return _Part(number, place, self._item(given, place), special, job.options.offsets)

    def _item(self, given: Input, place: int) -> Item:
        match given:
            case Text(text):
                return text
            case Pair(first, second):
                return (first, second)
            case Chat():
                if self._template is None:
                    message = f"The model {self._model!r} has no chat template: send a text."
                    metadata = {"model": self._model, "task": "CHAT"}
                    raise FailedPrecondition(Reason.TASK_UNSUPPORTED, message, metadata=metadata)
                return self._template.render(given, f"inputs[{place}].chat")

    def _encode(self, chunk: Sequence[_Part]) -> Sequence[Any]:
        """Return a sequence or an EncodeError a part; what fails in company is tried alone."""
        try:
            return self._tokenizer.encode(
                [part.item for part in chunk],
                add_special_tokens=chunk[0].add_special_tokens,
                offsets=chunk[0].offsets,
            )
        except EncodeError as error:
            if len(chunk) == 1:
                return [error]
            return [sequence for part in chunk for sequence in self._encode([part])]


def _chunks(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yield the parts in groups that one call of the library can take: of one kind, and of bounded size."""
    kinds: dict[tuple[bool, bool], list[_Part]] = {}
    for part in parts:
        kinds.setdefault((part.add_special_tokens, part.offsets), []).append(part)
    for kind in kinds.values():
        chunk: list[_Part] = []
        size = 0
        for part in kind:
            if chunk and size + part.size > _CHUNK_CHARACTERS:
                yield chunk
                chunk, size = [], 0
            chunk.append(part)
            size += part.size
        yield chunk


def _finished(job: Job, kept: list[Any]) -> Any:
    try:
        return job.finish(kept)
    except TrunklineError as error:
        return error
