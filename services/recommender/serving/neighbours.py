"""Neighbours: the items most like given ones, the users most like one, the value a user would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.kit.errors import FailedPrecondition, NotFound, Reason, invalid
from services.recommender.entities import Floats
from services.recommender.serving.answer import Prediction, Recommended, SimilarUser
from services.recommender.serving.availability import Availability
from services.recommender.serving.blending import z_scores
from services.recommender.serving.content_index import ContentIndex
from services.recommender.serving.explanation import Explainer
from services.recommender.serving.query import SimilarQuery
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Taste, matrix
from services.recommender.serving.topk import top_k
from services.recommender.store.catalogue import Catalogue

_CANDIDATES = 2_000
"""Users in memory that are compared, the most lately used first."""


class Neighbours:
    """Likeness by a version's models and by content. Belongs to one event loop."""

    def __init__(
        self, catalogue: Catalogue, available: Availability, content: ContentIndex, explainer: Explainer
    ) -> None:
        self._catalogue = catalogue
        self._available = available
        self._content = content
        self._explainer = explainer

    def items(self, query: SimilarQuery, served: Served | None) -> list[Recommended]:
        """Return the servable items most like the query's, without these. Raises as `similar_items`."""
        rows = self.rows(query.item_ids)
        if query.filter:
            self._available.filters.tree(query.filter)
        mask = self._available.rows((query.filter,) if query.filter else ()).copy()
        mask[rows] = False
        scores, source = self._likeness(rows, query, served, len(mask))
        scores = np.where(mask & (scores > 0), scores, -np.inf).astype(np.float32)
        best, values = top_k(scores[None, :], query.max_results)
        found = [
            Recommended(self._catalogue.ids[row], value, rank, source, None, row)
            for rank, (row, value) in enumerate(zip(best[0].tolist(), values[0].tolist(), strict=True), 1)
            if value > -np.inf
        ]
        if query.explain:
            for each in found:
                pairs = [(row, float(self._content.likeness(row)[each.row])) for row in rows.tolist()]
                each.explanation = self._explainer.of([pair for pair in pairs if pair[1] > 0][:3], each.row)
        return found

    def rows(self, item_ids: Sequence[str]) -> NDArray[np.int32]:
        """Return the rows of items that exist. Raises NotFound (ITEM_NOT_FOUND), InvalidArgument for none."""
        if not item_ids:
            raise invalid("item_ids", "must name at least one item")
        for item_id in item_ids:
            if item_id not in self._catalogue:
                message = f"There is no item {item_id!r}."
                raise NotFound(Reason.ITEM_NOT_FOUND, message, metadata={"item_id": item_id})
        return np.unique(self._catalogue.rows_of(item_ids))

    def _likeness(
        self, rows: NDArray[np.int32], query: SimilarQuery, served: Served | None, size: int
    ) -> tuple[Floats, str]:
        used = self._by_use(rows, served, size) if query.by != "content" else None
        if query.by == "interactions":
            return (np.zeros(size, np.float32) if used is None else used), "interactions"
        told = np.mean([self._content.likeness(row)[:size] for row in rows.tolist()], axis=0)
        if query.by == "content" or used is None:
            return np.asarray(told, np.float32), "content"
        # Both in standard deviations; an item that neither knows to be like them stays out.
        both = np.maximum(z_scores(used[None, :])[0], 0) + np.maximum(z_scores(told[None, :])[0], 0)
        return np.where((used > 0) | (told > 0), both, np.float32(0)), "blend"

    def _by_use(self, rows: NDArray[np.int32], served: Served | None, size: int) -> Floats | None:
        """Return (rows,) likeness by the models in the weights of the blend; None: they know none."""
        columns = [served.column(row) for row in rows.tolist()] if served else []
        columns = [each for each in columns if each >= 0]
        if served is None or not columns:
            return None
        names = {name: weight for name, weight in served.weights.items() if weight} or dict.fromkeys(
            served.models, 1.0
        )
        total = np.zeros(served.items, np.float32)
        for name, weight in names.items():
            each = np.mean([served.models[name].similar(column) for column in columns], axis=0)
            largest = float(np.max(np.abs(np.delete(each, columns)), initial=0.0))
            total += np.float32(weight / largest if largest else 0.0) * each.astype(np.float32)
        found = np.zeros(size, np.float32)
        known = (served.rows >= 0) & (served.rows < size)
        found[served.rows[known]] = total[known]
        return found


def similar_users(
    taste: Taste, others: Sequence[tuple[str, Taste]], served: Served | None, max_results: int
) -> list[SimilarUser]:
    """Return the users whose weights over items have the largest cosine with a taste, above 0.

    Compared are a version's training users where it has a model of them, and the `others`, whose histories
    are at hand.
    """
    if not len(taste):
        return []
    found: dict[str, float] = {}
    model = served.user_model if served else None
    if served is not None and model is not None:
        history = matrix([taste], served.columns, served.items, "preference")
        found.update(model.neighbours(history, max_results)[0])
    length = float(np.linalg.norm(taste.weights))
    for user_id, other in others:
        common, mine, theirs = np.intersect1d(taste.rows, other.rows, assume_unique=True, return_indices=True)
        if len(common):
            product = float(taste.weights[mine] @ other.weights[theirs])
            found[user_id] = product / (length * float(np.linalg.norm(other.weights)))
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:max_results]
    return [SimilarUser(user_id, min(value, 1.0)) for user_id, value in ordered if value > 0]


def predictions(
    taste: Taste, item_ids: Sequence[str], row_of: Callable[[str], int], served: Served | None
) -> list[Prediction]:
    """Return the value that a user with this taste would give each item.

    Raises FailedPrecondition (MODEL_NOT_TRAINED) where the version has no model of values.
    """
    model = served.rating_model if served else None
    if served is None or model is None:
        message = "No version with a model of values serves."
        raise FailedPrecondition(Reason.MODEL_NOT_TRAINED, message, metadata={"kind": "biased_mf"})
    history = matrix([taste], served.columns, served.items, "value")
    values = model.ratings(history)[0]
    mean = float(values.mean()) if len(values) else 0.0
    columns = [served.column(row_of(each)) for each in item_ids]
    told = history.nnz > 0
    return [
        Prediction(item_id, float(values[column]) if column >= 0 else mean, column >= 0 and told)
        for item_id, column in zip(item_ids, columns, strict=True)
    ]
