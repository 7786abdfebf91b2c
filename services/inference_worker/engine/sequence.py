"""One answer in the making, and the piece of it that a step works on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from services.inference_worker.wire import FinishReason, Sampling, Timings


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt with its answer so far.

    `limit` is the length at which it ends: prompt and `max_tokens`, or the context. `computed` counts the
    tokens whose keys and values are in the cache, from `offset` on (-1: it has no place yet).
    """

    id: int
    tokens: list[int]
    prompt_length: int
    limit: int
    sampling: Sampling
    ends: frozenset[int]
    accepted: float
    deadline: float
    computed: int = 0
    offset: int = -1
    started: float = 0.0
    first_token: float = 0.0
    answer: Counter[int] = field(default_factory=Counter)
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.prompt_length == len(self.tokens) < self.limit:
            raise ValueError(f"a prompt of {self.prompt_length} tokens with a limit of {self.limit}")
        self.random = random.Random(self.sampling.seed)  # noqa: S311 - sampling, not secrecy

    @property
    def decoding(self) -> bool:
        """True once the whole prompt is read: each step makes a token."""
        return self.computed >= self.prompt_length

    @property
    def outstanding(self) -> int:
        """Tokens yet to be read or made, at most."""
        return self.limit - self.computed

    def accept(self, token: int, now: float) -> FinishReason | None:
        """Take the next token in, but not an end token; return why the answer ends with it, or None."""
        if not self.first_token:
            self.first_token = now
        if token in self.ends:
            return "stop"
        self.tokens.append(token)
        self.answer[token] += 1
        return "length" if len(self.tokens) >= self.limit else None

    def timings(self, now: float) -> Timings:
        """Return when its first step began, its first token came, and that it ended `now`."""
        return Timings(self.started, self.first_token, now)


@dataclass(frozen=True, slots=True)
class Segment:
    """The next `length` tokens of a sequence that a step reads."""

    sequence: Sequence
    length: int

    @property
    def start(self) -> int:
        """How many of the sequence's tokens are in the cache already."""
        return self.sequence.computed

    @property
    def end(self) -> int:
        """How many there are after the step."""
        return self.sequence.computed + self.length

    @property
    def tokens(self) -> list[int]:
        """The tokens themselves."""
        return self.sequence.tokens[self.start : self.end]

    @property
    def complete(self) -> bool:
        """True where the step reaches the sequence's last token and so its next one can be chosen."""
        return self.end == len(self.sequence.tokens)
