"""One series: what it counted since the monitor has known it, and its recent past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from services.monitor.points import Buckets, Kind, Point
from services.monitor.quantiles import Spread
from services.monitor.windows import BucketWindow, RateWindow

V = TypeVar("V")


class Counter:
    """A sum that grows."""

    __slots__ = ("_last", "value", "window")

    def __init__(self) -> None:
        self.value = 0.0
        self.window = RateWindow()
        self._last: tuple[int, float] | None = None

    def record(self, point: Point, now: float, *, fresh: bool) -> None:
        """Add a point; `fresh` says that its sender began to count after the monitor began to listen."""
        amount = point.number
        if point.cumulative:
            before = _before(
                self._last, point.start_ns, lambda last: last <= point.number, zero=0.0, fresh=fresh
            )
            self._last = (point.start_ns, amount)
            amount = 0.0 if before is None else amount - before
        self.value += amount
        self.window.add(now, amount)

    def absorb(self, other: Counter) -> None:
        """Add what `other` counted."""
        self.value += other.value
        self.window.absorb(other.window)


class Gauge:
    """A value that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def record(self, point: Point) -> None:
        """Take the point's value, or add it where it is a change."""
        self.value = point.number if point.cumulative else self.value + point.number


class Distribution:
    """Counts by bucket. A change of bounds begins it anew, as a restart of its sender would."""

    __slots__ = ("_last", "_recent", "bounds", "count", "counts", "total", "window")

    def __init__(self) -> None:
        self.window = RateWindow()
        self._begin(())

    def record(self, point: Point, now: float, *, fresh: bool) -> None:
        """Add a point; `fresh` as for Counter."""
        value = point.buckets
        if value.bounds != self.bounds:
            self._begin(value.bounds)
        if point.cumulative:
            value = self._change(point.start_ns, value, fresh=fresh)
        self._add(value.counts, value.total)
        if any(value.counts):
            self.window.add(now, sum(value.counts))
            self._recent.add(now, value.counts, value.maximum)

    def spread(self, now: float) -> Spread:
        """Return the counts of the last minute."""
        return Spread(self.bounds, tuple(self._recent.counts(now)), self._recent.maximum(now))

    def absorb(self, other: Distribution) -> None:
        """Add what `other` counted; where its bounds differ, only its count and total."""
        if not self.count:
            self._begin(other.bounds)
        self.window.absorb(other.window)
        if other.bounds == self.bounds:
            self._add(other.counts, other.total)
            self._recent.absorb(other._recent)
        else:
            self.count += other.count
            self.total += other.total

    def _begin(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0
        self._recent = BucketWindow(len(bounds) + 1)
        self._last: tuple[int, Buckets] | None = None

    def _add(self, counts: Sequence[int], total: float) -> None:
        for index, count in enumerate(counts):
            self.counts[index] += count
        self.count += sum(counts)
        self.total += total

    def _change(self, start_ns: int, value: Buckets, *, fresh: bool) -> Buckets:
        nothing = Buckets(value.bounds, (0,) * len(value.counts), 0.0)
        before = _before(self._last, start_ns, lambda last: _grew(last, value), zero=nothing, fresh=fresh)
        self._last = (start_ns, value)
        if before is None:
            return nothing
        counts = tuple(now - then for then, now in zip(before.counts, value.counts, strict=True))
        # The sender's maximum is that of its whole life, not of this change: it is left out.
        return Buckets(value.bounds, counts, value.total - before.total)


Series = Counter | Gauge | Distribution


def begin(kind: Kind) -> Series:
    """Return an empty series for an instrument of this kind."""
    kinds: dict[Kind, type[Series]] = {
        Kind.COUNTER: Counter,
        Kind.GAUGE: Gauge,
        Kind.HISTOGRAM: Distribution,
    }
    return kinds[kind]()


def record(series: Series, point: Point, now: float, *, fresh: bool) -> None:
    """Add a point of the series' own kind."""
    if isinstance(series, Gauge):
        series.record(point)
    else:
        series.record(point, now, fresh=fresh)


def absorb(into: Series, other: Series) -> None:
    """Add what `other` counted, where both count in the same way; a gauge counts nothing."""
    match into, other:
        case Counter(), Counter():
            into.absorb(other)
        case Distribution(), Distribution():
            into.absorb(other)


def _before(
    last: tuple[int, V] | None, start_ns: int, grew: Callable[[V], bool], *, zero: V, fresh: bool
) -> V | None:
    """Return what a cumulative value is compared with to learn what is new in it.

    None: nothing is, since this is the first word of a sender that counted before the monitor listened. Zero:
    all is, since the sender has begun (again).
    """
    if last is None:
        return zero if fresh else None
    return last[1] if last[0] == start_ns and grew(last[1]) else zero


def _grew(before: Buckets, after: Buckets) -> bool:
    return all(then <= now for then, now in zip(before.counts, after.counts, strict=True))
