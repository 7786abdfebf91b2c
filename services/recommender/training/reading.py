"""What the store holds, as data to train from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from services.recommender.entities import Interactions, Item, Preference
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.sittings import users_of
from services.recommender.store.database import Database
from services.recommender.store.interactions import Window, read_interactions
from services.recommender.store.item_rows import ItemRow, read_items
from services.recommender.training.job import Job


@dataclass(frozen=True)
class Snapshot:
    """The data, and how far it goes."""

    data: TrainingData
    sequence: int
    """Of the last event in it."""


def read_snapshot(job: Job) -> Snapshot:
    """Return what the job's database holds: interactions, values and items; blocks."""
    database = Database.open(job.database)
    try:
        return _snapshot(database, job)
    finally:
        asyncio.run(database.close())


def _snapshot(database: Database, job: Job) -> Snapshot:
    window = Window(since=job.since)
    interactions, sequence = read_interactions(database, job.preferences, window)
    valued = {name: Preference(threshold=float("-inf"), by_value=True) for name in job.value_types}
    values, _ = read_interactions(database, valued, replace(window, sequence=sequence))
    ratings = aligned(values, interactions) if values.matrix.nnz else None
    items = database.read(lambda connection: {each.row: _whole(each) for each in read_items(connection)})
    described = [items.get(int(row), Item(name)) for row, name in _columns(interactions)]
    return Snapshot(TrainingData(interactions, described, ratings), sequence)


def aligned(values: Interactions, interactions: Interactions) -> Interactions:
    """Return `values` over the users and items of `interactions`; what has no place there is left out."""
    # Sessions without a user have no id by which to be found.
    users = {each: row for row, each in enumerate(interactions.user_ids) if each}
    columns = {int(row): column for column, row in enumerate(interactions.rows)}
    to_user = np.array([users.get(each, -1) for each in values.user_ids], np.int64)
    to_column = np.array([columns.get(int(each), -1) for each in values.rows], np.int64)
    rows, at = to_user[users_of(values.matrix)], to_column[values.matrix.indices]
    there = (rows >= 0) & (at >= 0)
    shape, place = interactions.matrix.shape, (rows[there], at[there])
    # Values may be 0: the places are sorted by their numbers, since sparse sums would keep no order of times.
    numbers = coo_matrix((np.arange(1, there.sum() + 1), place), shape=shape).tocsr()
    order = numbers.data - 1
    matrix = csr_matrix((values.matrix.data[there][order], numbers.indices, numbers.indptr), shape=shape)
    return replace(interactions, matrix=matrix, times=values.times[there][order])


def _whole(row: ItemRow) -> Item:
    """Return the item with its embedding."""
    return row.item if row.embedding is None else replace(row.item, embedding=tuple(row.embedding.tolist()))


def _columns(interactions: Interactions) -> list[tuple[int, str]]:
    return list(zip(interactions.rows.tolist(), interactions.item_ids, strict=True))
