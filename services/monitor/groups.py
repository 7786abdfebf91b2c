"""Series seen as one: over processes, and over the attributes that a question does not ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.monitor.metrics import Entry, MetricStore
from services.monitor.quantiles import Spread, merge
from services.monitor.series import Counter, Distribution

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Group:
    """Some series at one moment. Gauges among them count nothing."""

    entries: Sequence[Entry]
    now: float
    since: float
    """When the store began to count."""

    def count(self) -> int:
        """Return how many measurements there were in all."""
        return sum(entry.series.count for entry in self.entries if isinstance(entry.series, Distribution))

    def per_second(self) -> float:
        """Return by how much counters grew, or how many measurements were made, a second, over 10 seconds."""
        return sum(
            entry.series.window.per_second(self.now, self.since)
            for entry in self.entries
            if isinstance(entry.series, Counter | Distribution)
        )

    def spread(self) -> Spread:
        """Return the measurements of the last minute."""
        return merge(
            entry.series.spread(self.now) for entry in self.entries if isinstance(entry.series, Distribution)
        )

    def where(self, holds: Callable[[Entry], bool]) -> Group:
        """Return the series for which `holds`."""
        return Group([entry for entry in self.entries if holds(entry)], self.now, self.since)


def grouped(store: MetricStore, name: str, key: Callable[[Entry], K]) -> dict[K, Group]:
    """Return the series of the instruments called `name`, by `key`."""
    found: dict[K, list[Entry]] = defaultdict(list)
    for entry in store.entries(name):
        found[key(entry)].append(entry)
    return {each: Group(entries, store.now(), store.started_at) for each, entries in found.items()}
