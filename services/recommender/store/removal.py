"""Events taken out of the log: by who asked for it, by item, by type, by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, literal_column, or_, select

from services.recommender.store.chunks import chunks
from services.recommender.store.marks import take
from services.recommender.store.schema import erasures, events
from services.recommender.store.stored import Choice, Removed

_EMPTY: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: those that fit everything that is given."""

    user_id: str = ""
    row: int | None = None
    event_type: str = ""
    since: float = 0.0
    until: float = 0.0
    """Exclusive; 0: no end."""
    session_ids: Sequence[str] = ()
    """Also the events of these sessions that name no user."""


def remove_events(connection: Connection, selection: Selection, origin: int) -> Removed:
    """Delete the events and enter that some were removed; return what they were."""
    found = [each for condition in _conditions(selection) for each in _read(connection, condition)]
    sequences = sorted({each.sequence for each in found})
    for part in chunks(sequences):
        connection.execute(delete(events).where(events.c.sequence.in_(part)))
    number = take(connection, "sequence")
    first = sequences[0] if sequences else 0
    if sequences:
        entry = {"sequence": number, "timestamp": time(), "first_sequence": first, "origin": origin}
        connection.execute(insert(erasures), entry)
    return Removed(
        frozenset(each.user_id for each in found if each.user_id),
        frozenset(each.session_id for each in found if each.session_id),
        [
            Choice(each.event_type, each.item_row, each.value, each.timestamp)
            for each in {each.sequence: each for each in found}.values()
            if not each.superseded
        ],
        first,
        number,
        len(sequences),
    )


def _read(connection: Connection, condition: ColumnElement[bool]) -> Sequence[Any]:
    columns = events.c
    query = select(
        columns.sequence,
        columns.user_id,
        columns.session_id,
        columns.event_type,
        columns.item_row,
        columns.value,
        columns.timestamp,
        columns.superseded,
    )
    return connection.execute(query.where(condition)).all()


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    """Return what selects the events: several, so that a statement names no more sessions than it may."""
    columns, condition = events.c, events.c.sequence > 0
    if selection.row is not None:
        condition &= columns.item_row == selection.row
    if selection.event_type:
        condition &= columns.event_type == selection.event_type
    if selection.since:
        condition &= columns.timestamp >= selection.since
    if selection.until:
        condition &= columns.timestamp < selection.until
    if not selection.user_id:
        return [condition]
    # The second half is what lets SQLite take the indices, which hold the keys that are not empty.
    owned = [(columns.user_id == selection.user_id) & (columns.user_id != _EMPTY)]
    theirs = or_(columns.user_id == "", columns.user_id == selection.user_id)
    owned += [
        columns.session_id.in_(part) & (columns.session_id != _EMPTY) & theirs
        for part in chunks(selection.session_ids)
    ]
    return [condition & each for each in owned]
