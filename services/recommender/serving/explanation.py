"""Explanations: which items of the history speak for a recommendation, and what they share with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from services.recommender.serving.answer import Because, Explanation, Recommended
from services.recommender.serving.content_index import ContentIndex
from services.recommender.serving.job import Job
from services.recommender.serving.taste import Taste, matrix
from services.recommender.store.catalogue import Catalogue

_REASONS = 3
_MATCHES = 5
_TITLE = 60
"""Characters of an item's text that stand for it in a sentence."""
_WITHOUT_HISTORY = {
    "popular": "Chosen by many.",
    "trending": "Chosen more often than usual of late.",
    "latest": "New here.",
    "pin": "Placed here.",
    "explore": "Something to try.",
    "profile": "It fits the profile.",
}


class Explainer:
    """Says why. Belongs to one event loop."""

    def __init__(self, catalogue: Catalogue, content: ContentIndex) -> None:
        self._catalogue = catalogue
        self._content = content

    def explain(self, job: Job, items: Iterable[Recommended]) -> None:
        """Set each item's explanation."""
        for each in items:
            each.explanation = self.explanation(job, each)

    def explanation(self, job: Job, item: Recommended) -> Explanation:
        """Return why the item is in the job's list.

        The weights are exact addends of the source's score for EASE, item-kNN, transitions and content.
        """
        pairs = self._pairs(job, item)
        return self.of(pairs, item.row, _WITHOUT_HISTORY.get(item.source, ""))

    def of(self, pairs: Sequence[tuple[int, float]], row: int, otherwise: str = "") -> Explanation:
        """Return the explanation of the item in `row` by (row, weight) pairs, the largest first."""
        ids = self._catalogue.ids
        because = tuple(Because(ids[other], weight) for other, weight in pairs)
        matched: dict[str, None] = {}
        for other, _ in pairs:
            matched |= dict.fromkeys(self._content.matched(row, other)[:_MATCHES])
        text = _sentence([self._title(other) for other, _ in pairs]) if pairs else otherwise
        return Explanation(because, tuple(matched)[:_MATCHES], text)

    def _pairs(self, job: Job, item: Recommended) -> list[tuple[int, float]]:
        if item.source in ("fresh", "profile"):
            return self._by_content(job.taste, item.row)
        if item.source in _WITHOUT_HISTORY and item.source != "explore":
            return []
        return self._by_models(job, item)

    def _by_models(self, job: Job, item: Recommended) -> list[tuple[int, float]]:
        served = job.served
        column = served.column(item.row) if served else -1
        if served is None or column < 0:
            return []
        names = sorted(job.models, key=lambda name: (name != item.source, -job.models[name]))
        for name in names:
            model = served.models[name]
            history = matrix([job.taste], served.columns, served.items, model.reads)
            shares = [each for each in model.contributions(history, column)[:_REASONS] if each[1] > 0]
            if shares:
                return [(int(served.rows[other]), weight) for other, weight in shares]
        return []

    def _by_content(self, taste: Taste, row: int) -> list[tuple[int, float]]:
        shares = self._content.between([row], taste.rows.tolist())[0] * taste.weights
        best = np.argsort(-shares, kind="stable")[:_REASONS]
        return [(int(taste.rows[each]), float(shares[each])) for each in best if shares[each] > 0]

    def _title(self, row: int) -> str:
        entry = self._catalogue.entry(row)
        title = entry.text.strip().split("\n", 1)[0]
        return title if 0 < len(title) <= _TITLE else entry.item_id


def _sentence(titles: Sequence[str]) -> str:
    *first, last = titles
    return f"Because of {', '.join(first)} and {last}." if first else f"Because of {last}."
