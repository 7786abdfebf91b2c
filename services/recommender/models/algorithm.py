"""What trains a model: hyper-parameters that know how to fit themselves to data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from services.recommender.entities import Interactions, Item
from services.recommender.models.model import Config, Model


@dataclass(frozen=True)
class TrainingData:
    """All that an algorithm may learn from; each takes what it needs."""

    interactions: Interactions
    """Weights by preference, with times where the order of events is to count."""
    items: Sequence[Item] = ()
    """Of the columns, for content; empty where nobody described them."""
    ratings: Interactions | None = None
    """The values themselves, over the same columns, for models that predict values."""

    def __post_init__(self) -> None:
        if self.items and len(self.items) != self.columns:
            raise ValueError("a column needs its item, or no column has one")
        if self.ratings is not None and self.ratings.matrix.shape != self.interactions.matrix.shape:
            raise ValueError("ratings must be by the same users of the same items as interactions")

    @property
    def columns(self) -> int:
        """How many items there are."""
        return len(self.interactions.item_ids)


class Algorithm(Protocol):
    """Hyper-parameters, checked at birth; a frozen dataclass whose fields are numbers, words or flags."""

    name: ClassVar[str]

    def fit(self, data: TrainingData) -> Model:
        """Return a model of `data`; the same data and hyper-parameters make the same model.

        Raises FailedPrecondition (TRAINING_FAILED) where it cannot be made.
        """
        ...

    def config(self) -> Config:
        """Return the hyper-parameters."""
        ...
