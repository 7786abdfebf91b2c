"""Who is in the next step: continuous batching with chunked prefill. Pure Python; knows nothing of tensors.

After Orca (Yu et al., OSDI 2022) and Sarathi-Serve (Agrawal et al., OSDI 2024).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

from services.inference_worker.engine.extents import Extents
from services.inference_worker.engine.sequence import Segment, Sequence
from services.inference_worker.wire import Limits


class Scheduler:
    """Owns the waiting and the running sequences of one model, and their places in the cache."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._extents = Extents(limits.cache_tokens)
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def waiting(self) -> int:
        """Sequences without a place."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences with a place."""
        return len(self._running)

    @property
    def free_tokens(self) -> int:
        """Tokens of cache that no sequence holds."""
        return self._extents.free

    @property
    def outstanding_tokens(self) -> int:
        """Tokens that all sequences have yet to read or make, at most."""
        return sum(sequence.outstanding for sequence in chain(self._running, self._waiting))

    def admit(self, sequence: Sequence) -> None:
        """Queue a sequence. Its limit must not be above the cache's size."""
        if sequence.limit > self._extents.total:
            raise ValueError(f"{sequence.limit} tokens never fit into a cache of {self._extents.total}")
        self._waiting.append(sequence)

    def cancel(self, sequence_id: int) -> bool:
        """Forget a sequence, wherever it is; return whether it was here."""
        found = [each for each in chain(self._running, self._waiting) if each.id == sequence_id]
        self._remove(found)
        return bool(found)

    def expire(self, now: float) -> list[Sequence]:
        """Forget and return the sequences whose deadline has passed."""
        late = [each for each in chain(self._running, self._waiting) if each.deadline <= now]
        self._remove(late)
        return late

    def clear(self) -> list[Sequence]:
        """Forget and return all sequences."""
        everyone = [*self._running, *self._waiting]
        self._remove(everyone)
        return everyone

    def finish(self, sequence: Sequence) -> None:
        """Give the place of a sequence that has ended back."""
        self._remove([sequence])

    def plan(self, now: float) -> list[Segment]:
        """Return the next step: one token of each decoding sequence, then prompts, oldest first, in chunks.

        The prompts of a step together have at most `prefill_tokens` tokens, so that no stream waits for a
        long one; a waiting sequence joins when there is a place for all it may ever need.
        """
        decodes = [Segment(sequence, 1) for sequence in self._running if sequence.decoding]
        budget = self._limits.prefill_tokens
        chunks: list[Segment] = []
        for sequence in chain([each for each in self._running if not each.decoding], self._joining(now)):
            chunk = Segment(sequence, min(budget, sequence.prompt_length - sequence.computed))
            chunks.append(chunk)
            budget -= chunk.length
            if budget == 0:
                break
        return decodes + chunks

    def _joining(self, now: float) -> Iterator[Sequence]:
        """Give waiting sequences places, oldest first, for as long as the caller asks and there is room."""
        while self._waiting and len(self._running) < self._limits.running:
            offset = self._extents.allocate(self._waiting[0].limit)
            if offset is None:
                return
            sequence = self._waiting.popleft()
            sequence.offset, sequence.started = offset, now
            self._running.append(sequence)
            yield sequence

    def _remove(self, leaving: list[Sequence]) -> None:
        for sequence in leaving:
            if sequence.offset < 0:
                self._waiting.remove(sequence)
            else:
                self._running.remove(sequence)
                self._extents.release(sequence.offset, sequence.limit)
                sequence.offset = -1
