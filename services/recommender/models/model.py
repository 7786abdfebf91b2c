"""What every algorithm offers to those who serve and evaluate it.

A model knows *columns*, 0 to `items` - 1; a version says which row of the catalogue each column is.
Histories come in as one sparse row a user: what the numbers in it mean is the model's `reads`. No model
keeps a table of users to answer by: a history as it stands is all that it needs, so an event changes the next
answer without training.

`services.recommender.models.kinds.restore(kind, config, arrays)` makes a model again from what a version
stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats

Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]
"""What a version stores of a model: names and arrays, written as safetensors."""
Config: TypeAlias = Mapping[str, "float | int | str | bool | list[str] | list[float]"]
"""Hyper-parameters and all else that is not an array; JSON can hold it."""

Reads: TypeAlias = Literal["preference", "recency", "value"]
"""The weights that a model wants in a history.

preference: by the event types' preferences; recency: the same times a decay by age in events, the latest 1
(`services.recommender.models.recency`); value: the events' own values, as ratings are.
"""


class Model(Protocol):
    """Scores of all items for histories that it has never seen; immutable, so threads may share it."""

    @property
    def name(self) -> str:
        """The algorithm: what `restore` calls `kind`."""
        ...

    @property
    def items(self) -> int:
        """How many columns there are."""
        ...

    @property
    def reads(self) -> Reads:
        """What the numbers of a history must be."""
        ...

    def scores(self, histories: csr_matrix, /) -> Floats:
        """Return (B, items) float32 for B histories (B, items) float32: higher is better, seen ones too."""
        ...

    def contributions(self, history: csr_matrix, column: int, /) -> list[tuple[int, float]]:
        """Return what each column of the one history (1, items) adds to the score of `column`, largest first.

        They add up to the score; empty where a model cannot say.
        """
        ...

    def similar(self, column: int, /) -> Floats:
        """Return (items,) how like `column` each item is by this model; its own entry means nothing."""
        ...

    def vectors(self) -> Floats | None:
        """Return V (items, d): the scores of h are `fold(h) @ V.T`; None where no such vectors exist."""
        ...

    def fold(self, histories: csr_matrix, /) -> Floats | None:
        """Return (B, d) users in the space of `vectors()`; None where that is None."""
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what a version stores; with `config`, enough for `restore`."""
        ...

    @property
    def config(self) -> Config:
        """The rest of what a version stores."""
        ...


@runtime_checkable
class RatingModel(Protocol):
    """A model that also says which value a user would give; it reads "value"."""

    def ratings(self, histories: csr_matrix, /) -> Floats:
        """Return (B, items) float32 expected values, within the range of those it learned from."""
        ...


@runtime_checkable
class UserModel(Protocol):
    """A model that holds its training users' histories: erasing one of them asks for another version."""

    @property
    def user_ids(self) -> Sequence[str]:
        """Whose histories it holds."""
        ...

    def neighbours(self, histories: csr_matrix, k: int) -> list[list[tuple[str, float]]]:
        """Return for each history up to `k` (user id, cosine) of the users most like it, best first."""
        ...
