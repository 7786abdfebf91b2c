"""Numbers of decisions and episodes: unique in all replicas and over every restart, in one order each."""

from __future__ import annotations

import time

from sqlalchemy import func, insert, select

from services.rl_policy.store.database import Database
from services.rl_policy.store.schema import id_blocks

BLOCK_BITS = 24
"""A process takes 16.8 million numbers at a time; those it does not use are never used."""


class Ids:
    """Gives out numbers from 2**24 up, of a block that this process has taken. One thread uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = self._stop = 0
        self._highest_block = 0
        self._take_block()

    def take(self, count: int = 1) -> int:
        """Return the first of `count` numbers in a row. Nothing is written, but for once in 16.8 million."""
        if self._next + count > self._stop:
            self._take_block()
        first = self._next
        self._next += count
        return first

    def known(self, number: int) -> bool:
        """Return whether this number may have been given out, here or by another process, now or before."""
        block = number >> BLOCK_BITS
        if block > self._highest_block:
            with self._database.reading() as connection:
                self._highest_block = connection.scalar(select(func.max(id_blocks.c.number))) or 0
        return 0 < block <= self._highest_block and not self._next <= number < self._stop

    def _take_block(self) -> None:
        with self._database.writing() as connection:
            taken = connection.execute(insert(id_blocks), {"taken_at": time.time()}).inserted_primary_key
        assert taken is not None  # noqa: S101 - an insert of one row has its key
        self._highest_block = int(taken[0])
        self._next = self._highest_block << BLOCK_BITS
        self._stop = self._next + (1 << BLOCK_BITS)
