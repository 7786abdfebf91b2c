"""How lists do online: impressions, clicks and conversions by variant, source and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.recommender.serving.statistics import Rate


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
    conversions: int
    ctr: Rate
    conversion: Rate


class OnlineMetrics:
    """Counts what recorded impressions led to. Made by `Serving`."""

    async def report(self, group_by: Sequence[str] = ("variant", "source", "position")) -> list[OnlineMetric]:
        """Return one row a group, most impressions first; `group_by`: variant, source, position, or none.

        Raises InvalidArgument for another name.
        """
        raise NotImplementedError
