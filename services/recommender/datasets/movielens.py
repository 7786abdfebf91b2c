"""MovieLens-100K: 100,000 ratings of 1,682 films by 943 users, 1997 and 1998.

F. M. Harper, J. A. Konstan, "The MovieLens datasets: history and context", ACM TiiS 5(4), 2015. The terms of
GroupLens allow research use and ask for that citation; they allow neither commercial use nor redistribution
without permission. So the data is fetched from a package that carries it, and never becomes part of this one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from services.recommender.entities import Event, Interactions, Item, User
from services.recommender.models.algorithm import TrainingData
from services.store.sources import Progress, silent
from services.store.store import Store


@dataclass(frozen=True)
class Dataset:
    """Where a public dataset comes from; the digest is the wheel's."""

    name: str
    source: str
    sha256: str
    download_bytes: int
    terms: str


ML_100K = Dataset(
    name="ml-100k",
    source="pypi://recbole==1.2.1/recbole/dataset_example/ml-100k/",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    download_bytes=2_130_151,
    terms="MovieLens-100K by GroupLens: for research, not for commercial use, not to be passed on.",
)


@dataclass(frozen=True)
class Rating:
    """One line of the data."""

    user_id: str
    item_id: str
    value: float
    timestamp: float


@dataclass(frozen=True)
class MovieLens:
    """The data, in memory."""

    ratings: Sequence[Rating]
    items: Sequence[Item]
    users: Sequence[User]

    def events(self) -> Iterator[Event]:
        """Yield the ratings as events of type "rating", in their file's order."""
        for each in self.ratings:
            yield Event(
                event_id=f"ml-100k-{each.user_id}-{each.item_id}",
                event_type="rating",
                item_id=each.item_id,
                user_id=each.user_id,
                value=each.value,
                timestamp=each.timestamp,
            )

    def training_data(self) -> TrainingData:
        """Return all ratings, as interactions of weight 1 and as values, in the order of ids."""
        users, items = (
            sorted(user.user_id for user in self.users),
            sorted(self.items, key=lambda item: item.item_id),
        )
        row = {user_id: each for each, user_id in enumerate(users)}
        column = {item.item_id: each for each, item in enumerate(items)}
        at = ([row[each.user_id] for each in self.ratings], [column[each.item_id] for each in self.ratings])
        shape = (len(users), len(items))
        values = csr_matrix((np.array([each.value for each in self.ratings], np.float32), at), shape=shape)
        times = csr_matrix((np.array([each.timestamp for each in self.ratings]), at), shape=shape)
        ones = csr_matrix((np.ones(values.nnz, np.float32), values.indices, values.indptr), shape=shape)
        ids, rows = [item.item_id for item in items], np.arange(len(items), dtype=np.int32)
        interactions, ratings = (Interactions(each, ids, rows, users, times.data) for each in (ones, values))
        return TrainingData(interactions, items, ratings)


def load(store: Store, progress: Progress = silent) -> MovieLens:
    """Return MovieLens-100K, fetched if it is not in the cache.

    Raises FailedPrecondition (MODEL_SOURCE_INVALID) when it cannot be had.
    """
    folder = store.fetch(ML_100K, progress)
    ratings = [
        Rating(user, item, float(value), float(timestamp))
        for user, item, value, timestamp in _lines(folder / "ml-100k.inter")
    ]
    items = [_item(*line) for line in _lines(folder / "ml-100k.item")]
    users = [
        User(user, {"age": float(age), "gender": gender, "occupation": occupation})
        for user, age, gender, occupation, _ in _lines(folder / "ml-100k.user")
    ]
    return MovieLens(ratings, items, users)


def _item(item_id: str, title: str, year: str, genres: str) -> Item:
    attributes = {"year": float(year)} if year.isdigit() else {}
    tags = (f"{year[:3]}0s",) if year.isdigit() else ()
    return Item(item_id, tuple(genres.split()), tags, title, attributes)


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the lines below the head of a tab-separated file."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(lines)
        yield from lines
