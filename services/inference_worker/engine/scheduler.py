"""Who is in the next step: continuous batching with chunked prefill. Knows nothing of how steps are computed.

After Orca (Yu et al., OSDI 2022) and Sarathi-Serve (Agrawal et al., OSDI 2024): those who make tokens go
first, prompts are read in what the step's budget leaves. Whoever fits into the cache alone gets through it:
when blocks run out, the newest gives its own back and later reads again what the prefix cache has lost.
"""

from __future__ import annotations

from services.inference_worker.engine.batch import BLOCK_TOKENS
from services.inference_worker.engine.blocks import BlockPool
from services.inference_worker.engine.budget import Budget
from services.inference_worker.engine.deadlines import Deadlines
from services.inference_worker.engine.sequence import Chunk, Sequence
from services.inference_worker.engine.speculation import MOST_ROWS, draft
from services.inference_worker.engine.waiting import MADE_COST, READ_COST, WaitingLine
from services.inference_worker.wire import Limits


class Scheduler:
    """Owns the waiting and the running sequences of one model, and their blocks."""

    def __init__(self, limits: Limits, pool: BlockPool, budget: Budget) -> None:
        self._most = limits.running
        self._pool = pool
        self._budget = budget
        self._line = WaitingLine()
        self._running: list[Sequence] = []  # in the order in which they got their places
        self._all: dict[int, Sequence] = {}
        self._deadlines = Deadlines(self._all)
        self.preemptions = 0
        self.cached_tokens = 0
        """Prompt tokens that came from the prefix cache."""
        self.read_tokens = 0
        """Prompt tokens that steps have read for the first time."""

    @property
    def waiting(self) -> int:
        """Sequences without a place."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Sequences with a place."""
        return len(self._running)

    @property
    def free_tokens(self) -> int:
        """Tokens of cache that no sequence holds."""
        return self._pool.free * BLOCK_TOKENS

    @property
    def outstanding_tokens(self) -> int:
        """Tokens that all sequences have yet to read or make, at most."""
        return self._line.tokens + sum([sequence.outstanding for sequence in self._running])

    def admit(self, sequence: Sequence) -> None:
        """Queue a sequence. Raises ValueError for one longer than the cache, and for one that is here."""
        if sequence.id in self._all:
            raise ValueError(f"request {sequence.id} is here already")
        if len(sequence.table.ids) > self._pool.blocks:
            raise ValueError(f"{sequence.limit} tokens never fit into {self._pool.blocks} blocks")
        self._all[sequence.id] = sequence
        self._line.add(sequence)
        if sequence.deadline is not None:
            self._deadlines.add(sequence.id, sequence.deadline)

    def cancel(self, sequence_id: int) -> bool:
        """Forget a sequence, wherever it is; return whether it was here."""
        sequence = self._all.get(sequence_id)
        if sequence is not None:
            self.finish(sequence)
        return sequence is not None

    def expire(self, now: float) -> list[Sequence]:
        """Forget and return the sequences whose deadline has passed."""
        late = [self._all[sequence_id] for sequence_id in self._deadlines.passed(now)]
        for sequence in late:
            self.finish(sequence)
        return late

    def finish(self, sequence: Sequence) -> None:
        """Forget a sequence, and take its blocks back; they can be found while nobody else needs them."""
        del self._all[sequence.id]
        if sequence in self._line:
            self._line.remove(sequence)
        else:
            self._running.remove(sequence)
            self._pool.release(sequence.table)

    def plan(self, now: float) -> list[Chunk]:
        """Return what the next step reads: the last token of whoever makes tokens, then pieces of prompts.

        A sequence is in it at most once. Where anybody is here, somebody is in it.
        """
        decodes = self._decodes()
        rows = sum([1 + len(chunk.draft) for chunk in decodes])
        company = min(len(self._all), self._most)
        return decodes + self._prompts(self._budget.prompt_rows(rows, company), now)

    def advance(self, chunk: Chunk, computed: int, made: int) -> None:
        """Take in what a step did: so many of the sequence's tokens are computed, so many were made."""
        sequence = chunk.sequence
        if not sequence.preemptions:
            self.read_tokens += max(min(computed, sequence.prompt_length) - sequence.computed, 0)
        sequence.computed = computed
        self._pool.commit(sequence.table, sequence.tokens, computed)
        self._line.charge(sequence.request.tenant, MADE_COST * made)

    def _decodes(self) -> list[Chunk]:
        ready = [sequence for sequence in self._running if sequence.pending == 1]
        drafting = len(ready) == len(self._running)  # prompts under way have better use for the rows
        chunks: list[Chunk] = []
        for sequence in ready:
            if not sequence.table.held:
                break  # it and those behind it have given their blocks to those before them
            found = self._draft(sequence, len(ready)) if drafting else []
            if self._make_room(sequence):
                chunks.append(Chunk(sequence, 1, found))
        return chunks

    def _draft(self, sequence: Sequence, rows: int) -> list[int]:
        """Return a draft that pays and fits, for one of `rows` sequences that make tokens."""
        if 2 * rows > MOST_ROWS:
            return []
        length = len(sequence.tokens)
        found = draft(sequence.lookup, sequence.tokens, sequence.limit - length - 1, rows, self._budget)
        return found if self._pool.ensure(sequence.table, length + len(found)) else []

    def _make_room(self, sequence: Sequence) -> bool:
        """Give a running sequence blocks for its tokens, the newest's if need be; False if it is that one."""
        while not self._pool.ensure(sequence.table, len(sequence.tokens)):
            newest = self._running.pop()
            self._pool.release(newest.table)
            newest.computed = 0
            newest.preemptions += 1
            self.preemptions += 1
            self._line.put_back(newest)
            if newest is sequence:
                return False
        return True

    def _prompts(self, budget: int, now: float) -> list[Chunk]:
        """Return pieces of prompts, of at most `budget` tokens together.

        Those with the least to read go first, so that a short prompt does not wait for a long one; yet of the
        budget a block is kept for who has been here the longest.
        """
        reading = [sequence for sequence in self._running if sequence.pending > 1] + self._joining()
        if not reading:
            return []
        oldest, chunks = reading[0], list[Chunk]()
        kept = min(budget, oldest.pending, BLOCK_TOKENS)
        budget -= kept
        for sequence in sorted(reading, key=_pending):
            budget += kept if sequence is oldest else 0
            if budget > 0:
                self._attach(sequence)  # others may have read the same meanwhile
                sequence.started = sequence.started or now
                chunks.append(Chunk(sequence, _piece(sequence, budget), []))
                budget -= chunks[-1].length
        return chunks

    def _joining(self) -> list[Sequence]:
        """Give waiting sequences places, in the line's order, while there is room; return them.

        Nobody is overtaken. Blocks for all that is to be read are given at once, while a block is left for
        each of the others to grow into. Who is alone always fits.
        """
        joined: list[Sequence] = []
        while len(self._running) < self._most and (first := self._line.head()):
            spare = self._pool.free - self._pool.need(first.table, first.tokens)
            if self._running and spare < len(self._running):
                break
            sequence = self._line.take()
            self._attach(sequence)
            self._pool.ensure(sequence.table, len(sequence.tokens))
            self._running.append(sequence)
            joined.append(sequence)
            if not sequence.preemptions:
                self._line.charge(sequence.request.tenant, READ_COST * sequence.pending)
        return joined

    def _attach(self, sequence: Sequence) -> None:
        before = sequence.computed
        sequence.computed = self._pool.attach_prefix(sequence.table, sequence.tokens, before)
        if not sequence.preemptions:
            sequence.cached += sequence.computed - before
            self.cached_tokens += sequence.computed - before


def _pending(sequence: Sequence) -> int:
    return sequence.pending


def _piece(sequence: Sequence, budget: int) -> int:
    """Return how many tokens to read: all that are left, or up to the end of a block, for others to share."""
    if sequence.pending <= budget:
        return sequence.pending
    past = (sequence.computed + budget) % BLOCK_TOKENS
    return budget - past if past < budget else budget
