"""One answer in the making, and the piece of it that a step works on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property

from services.inference_worker.engine.batch import Part
from services.inference_worker.engine.blocks import BlockTable
from services.inference_worker.engine.penalties import Penalties
from services.inference_worker.engine.speculation import PromptLookup
from services.inference_worker.wire import FinishReason, Generate, Timings


@dataclass(eq=False)
class Sequence:
    """A request with its answer so far.

    `limit` is the length at which it ends: prompt and `max_tokens`, or the context. `tokens` are prompt and
    answer; the keys and values of the first `computed` of them are in the cache, in the blocks of `table`.
    """

    request: Generate
    limit: int
    ends: frozenset[int]
    tokens: list[int] = field(init=False)
    table: BlockTable = field(init=False)
    penalties: Penalties | None = field(init=False)
    computed: int = 0
    cached: int = 0
    """Tokens of the prompt that came from the prefix cache."""
    preemptions: int = 0
    started: float = 0.0
    first_token: float = 0.0

    def __post_init__(self) -> None:
        prompt, sampling = self.request.token_ids, self.request.sampling
        if not 0 < len(prompt) < self.limit:
            raise ValueError(f"a prompt of {len(prompt)} tokens with a limit of {self.limit}")
        self.id = self.request.id
        self.sampling = sampling
        self.prompt_length = len(prompt)
        self.tokens = list(prompt)
        self.table = BlockTable(self.request.tenant, self.limit)
        self.penalties = Penalties(sampling, prompt) if Penalties.asked(sampling) else None

    @cached_property
    def lookup(self) -> PromptLookup:
        """What finds drafts in the sequence's own tokens."""
        return PromptLookup()

    @cached_property
    def _random(self) -> random.Random:
        return random.Random(self.sampling.seed)  # noqa: S311 - sampling, not secrecy

    def uniform(self) -> float:
        """Return its next random number, from 0 to below 1: one for each token, whatever else happens."""
        return self._random.random()

    @property
    def shapes(self) -> bool:
        """True where its next token takes more than to know the likeliest."""
        sampling = self.sampling
        return sampling.temperature > 0 or self.penalties is not None or sampling.logprobs is not None

    @property
    def pending(self) -> int:
        """Tokens that are to be read before the next one can be chosen; 1 while it makes a token a step."""
        return len(self.tokens) - self.computed

    @property
    def outstanding(self) -> int:
        """Tokens yet to be read or made, at most."""
        return self.limit - self.computed

    @property
    def deadline(self) -> float | None:
        """When nobody waits for the answer any more."""
        return self.request.deadline

    def accept(self, token: int, now: float) -> FinishReason | None:
        """Take the next token in, but not an end token; return why the answer ends with it, or None."""
        if not self.first_token:
            self.first_token = now
        if token in self.ends:
            return "stop"
        self.tokens.append(token)
        if self.penalties is not None:
            self.penalties.take(token)
        return "length" if len(self.tokens) >= self.limit else None

    def timings(self, now: float) -> Timings:
        """Return when its first step began, its first token came, and that it ended `now`."""
        return Timings(self.started, self.first_token, now)


@dataclass(slots=True)
class Chunk:
    """The next `length` tokens of a sequence that a step reads, and a draft of what may follow them."""

    sequence: Sequence
    length: int
    draft: list[int]

    @property
    def chooses(self) -> bool:
        """True where the step reaches the sequence's last token, so that its next one can be chosen."""
        return self.length == self.sequence.pending

    def part(self) -> Part:
        """Return it as the runner reads it: an answer is wanted after the last token and every draft's."""
        sequence = self.sequence
        start, end = sequence.computed, sequence.computed + self.length
        table = sequence.table
        return Part(
            sequence.tokens[start:end] + self.draft,
            start,
            table.ids[: table.held],
            1 + len(self.draft) if end == len(sequence.tokens) else 0,
        )
