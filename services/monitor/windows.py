"""The recent past of a series: amounts by second, and bucket counts by five seconds. Both are bounded."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence

RATE_SECONDS = 10
QUANTILE_SECONDS = 60
# A slot a second would take five times the memory (60 slots of up to 64 counts of 8 bytes, a series) to say
# "the last 60 seconds" where this says "the last 60 to 65".
SLOT_SECONDS = 5


class RateWindow:
    """Amounts by second over the last RATE_SECONDS whole seconds and the one that runs."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: deque[tuple[int, float]] = deque(maxlen=RATE_SECONDS + 1)

    def add(self, now: float, amount: float) -> None:
        """Count `amount` in the second of `now`, which never goes back."""
        second = int(now)
        if self._slots and self._slots[-1][0] == second:
            amount += self._slots.pop()[1]
        self._slots.append((second, amount))

    def per_second(self, now: float, since: float) -> float:
        """Return the mean over the last RATE_SECONDS whole seconds, or over fewer: those after `since`."""
        end = int(now)
        start = max(end - RATE_SECONDS, int(since))
        amount = sum(amount for second, amount in self._slots if start <= second < end)
        return amount / max(end - start, 1)

    def absorb(self, other: RateWindow) -> None:
        """Add what `other` counted."""
        merged: dict[int, float] = dict(self._slots)
        for second, amount in other._slots:
            merged[second] = merged.get(second, 0.0) + amount
        self._slots = deque(sorted(merged.items()), maxlen=RATE_SECONDS + 1)


class BucketWindow:
    """Bucket counts over the last QUANTILE_SECONDS (up to SLOT_SECONDS more), all of one length."""

    __slots__ = ("_slots", "_totals")

    def __init__(self, buckets: int) -> None:
        self._slots: deque[_Slot] = deque()
        self._totals = array("Q", bytes(8 * buckets))

    def add(self, now: float, counts: Sequence[int], maximum: float | None) -> None:
        """Count in the slot of `now`, which never goes back."""
        self._forget(now)
        start = int(now) // SLOT_SECONDS
        if not self._slots or self._slots[-1].start != start:
            self._slots.append(_Slot(start, len(self._totals)))
        self._slots[-1].add(counts, maximum)
        _add(self._totals, counts)

    def counts(self, now: float) -> Sequence[int]:
        """Return the counts of the window."""
        self._forget(now)
        return self._totals

    def maximum(self, now: float) -> float | None:
        """Return the largest measurement of the window, None where any sender left it open."""
        self._forget(now)
        maxima = [slot.maximum for slot in self._slots]
        known = [each for each in maxima if each is not None]
        return max(known) if known and len(known) == len(maxima) else None

    def absorb(self, other: BucketWindow) -> None:
        """Add what `other` counted; it has as many buckets."""
        slots = {slot.start: slot for slot in self._slots}
        for theirs in other._slots:
            slots.setdefault(theirs.start, _Slot(theirs.start, len(self._totals))).add(
                theirs.counts, theirs.maximum
            )
            _add(self._totals, theirs.counts)
        self._slots = deque(slots[start] for start in sorted(slots))

    def _forget(self, now: float) -> None:
        oldest = (int(now) - QUANTILE_SECONDS) // SLOT_SECONDS
        while self._slots and self._slots[0].start < oldest:
            for index, count in enumerate(self._slots.popleft().counts):
                self._totals[index] -= count


class _Slot:
    __slots__ = ("counts", "maximum", "start")

    def __init__(self, start: int, buckets: int) -> None:
        self.start = start
        self.counts = array("Q", bytes(8 * buckets))
        self.maximum: float | None = float("-inf")

    def add(self, counts: Sequence[int], maximum: float | None) -> None:
        _add(self.counts, counts)
        self.maximum = None if maximum is None or self.maximum is None else max(self.maximum, maximum)


def _add(into: array[int], counts: Sequence[int]) -> None:
    for index, count in enumerate(counts):
        if count:
            into[index] += count
