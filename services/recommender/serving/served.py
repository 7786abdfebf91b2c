"""A loaded version: models over common columns, and which rows of the catalogue these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.recommender.entities import Rows
from services.recommender.models.model import Model, RatingModel, UserModel
from services.recommender.serving.ann import AnnIndex

Columns = NDArray[np.int32]


@dataclass(frozen=True)
class Served:
    """What answers from one version. Immutable: threads and answers under way may hold it."""

    version: str
    models: Mapping[str, Model]
    weights: Mapping[str, float]
    """Of the version's own blend, by model."""
    rows: Rows
    """The catalogue's rows of the columns."""
    item_ids: tuple[str, ...]
    """Of the columns."""
    index: AnnIndex | None = None
    """Over the vectors of the blend's one model, where there are many items."""
    newest_row: int = -1
    """The last row that the catalogue had when the version was trained; -1: the last of the columns'."""
    columns: Columns = field(init=False, repr=False)
    """The column of each row, -1 where it has none; rows past the end have none."""
    ids: NDArray[np.object_] = field(init=False, repr=False)
    """`item_ids` as an array."""

    def __post_init__(self) -> None:
        if any(model.items != len(self.rows) for model in self.models.values()):
            raise ValueError("the models of a version must have its columns")
        if len(self.item_ids) != len(self.rows):
            raise ValueError("a column needs its item and its row")
        columns = np.full(int(self.rows.max(initial=-1)) + 1, -1, np.int32)
        known = np.flatnonzero(self.rows >= 0)
        columns[self.rows[known]] = known
        if self.newest_row < 0:
            object.__setattr__(self, "newest_row", len(columns) - 1)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "ids", np.array(self.item_ids, dtype=object))

    @property
    def items(self) -> int:
        """How many columns there are."""
        return len(self.rows)

    def column(self, row: int) -> int:
        """Return the column of a row, -1 where it has none."""
        return int(self.columns[row]) if 0 <= row < len(self.columns) else -1

    @property
    def rating_model(self) -> RatingModel | None:
        """The model that predicts values, None where the version has none."""
        return next((each for each in self.models.values() if isinstance(each, RatingModel)), None)

    @property
    def user_model(self) -> UserModel | None:
        """The model that knows its training users, None where the version has none."""
        return next((each for each in self.models.values() if isinstance(each, UserModel)), None)

    def sources(self, wanted: Mapping[str, float]) -> dict[str, float]:
        """Return weights by model for those that a scenario names; `blend` stands for the version's own."""
        found: dict[str, float] = {}
        for name, weight in wanted.items():
            parts = self.weights if name == "blend" else {name: 1.0}
            for part, share in parts.items():
                if part in self.models and weight * share:
                    found[part] = found.get(part, 0.0) + weight * share
        return found
