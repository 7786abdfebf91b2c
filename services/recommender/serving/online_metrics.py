"""How lists do online: impressions, clicks and conversions by variant, source and position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.kit.errors import invalid
from services.recommender.serving.outcomes import Outcome, outcomes
from services.recommender.serving.statistics import Rate, rate
from services.recommender.store.store import RecommenderStore

GROUPS = ("variant", "source", "position")
_Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class OnlineMetric:
    """Counts of one group of shown items. A field that was not grouped by is empty, or 0."""

    experiment: str
    variant: str
    source: str
    position: int
    impressions: int
    """Items shown."""
    clicks: int
    """Items of which an event names the list."""
    conversions: int
    """Items of which such an event is of a conversion type."""
    ctr: Rate
    conversion: Rate


class OnlineMetrics:
    """Counts what recorded impressions led to. Made by `Serving`."""

    def __init__(self, store: RecommenderStore, conversions: Collection[str]) -> None:
        self._store = store
        self._conversions = frozenset(conversions)

    async def report(self, group_by: Sequence[str] = GROUPS) -> list[OnlineMetric]:
        """Return one row a group, most impressions first; `group_by`: variant, source, position, or none.

        Raises InvalidArgument for another name.
        """
        for index, name in enumerate(group_by):
            if name not in GROUPS:
                raise invalid(f"group_by[{index}]", f"must be one of {', '.join(GROUPS)}, not {name!r}")
        shown, clicked, converted = Counter[_Key](), Counter[_Key](), Counter[_Key]()
        async for outcome in outcomes(self._store):
            for place, row in enumerate(outcome.shown.rows):
                key = _key(outcome, place, group_by)
                types = outcome.types.get(row, frozenset())
                shown[key] += 1
                clicked[key] += bool(types)
                converted[key] += bool(types & self._conversions)
        return [_metric(key, count, clicked[key], converted[key]) for key, count in shown.most_common()]

    async def click_rate(self, since: float) -> tuple[int, int]:
        """Return (lists with an event, lists shown) since then (Unix seconds)."""
        clicks = lists = 0
        async for outcome in outcomes(self._store, since):
            lists += 1
            clicks += bool(outcome.types)
        return clicks, lists


def _key(outcome: Outcome, place: int, group_by: Sequence[str]) -> _Key:
    shown, by_variant = outcome.shown, "variant" in group_by
    return (
        shown.experiment if by_variant else "",
        shown.variant if by_variant else "",
        shown.sources[place] if "source" in group_by else "",
        place + 1 if "position" in group_by else 0,
    )


def _metric(key: _Key, shown: int, clicked: int, converted: int) -> OnlineMetric:
    return OnlineMetric(*key, shown, clicked, converted, rate(clicked, shown), rate(converted, shown))
