"""Many rows in one statement: the interpreter's lock is free while it runs, so the event loop goes on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

# Few sizes, so that the driver keeps each statement prepared.
_SIZES = (512, 64, 8, 1)


def insert_new(connection: Connection, table: Table, records: Sequence[tuple[Any, ...]]) -> int:
    """Insert the records whose keys are new, in the order of the table's columns; return how many were."""
    if not records:
        return 0
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*records, strict=True)))
        return connection.exec_driver_sql(_arrays(table), columns).rowcount
    done, start = 0, 0
    for size in _SIZES:
        while len(records) - start >= size:
            flat = tuple(chain.from_iterable(records[start : start + size]))
            done += connection.exec_driver_sql(_values(table, size), flat).rowcount
            start += size
    return done


@cache
def _values(table: Table, size: int) -> str:
    one = f"({', '.join('?' * len(table.c))})"
    return f"{_insert(table)} VALUES {', '.join([one] * size)} ON CONFLICT DO NOTHING"


@cache
def _arrays(table: Table) -> str:
    kinds = [column.type.compile(postgresql.dialect()) for column in table.c]  # type: ignore[no-untyped-call]
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return f"{_insert(table)} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of the schema


def _insert(table: Table) -> str:
    return f"INSERT INTO {table.name} ({', '.join(table.c.keys())})"
