"""Events as rows of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, literal_column, select, update

from services.recommender.entities import Event
from services.recommender.store.bulk import insert_new
from services.recommender.store.chunks import chunks
from services.recommender.store.marks import take
from services.recommender.store.schema import events
from services.recommender.store.stored import Choice, Run, Stored, WriteMode

Key: TypeAlias = tuple[str, str, int, str]
"""User, session where there is no user, row, type: what OVERWRITE and IGNORE compare."""

_EMPTY: ColumnElement[str] = literal_column("''")
"""Said beside a key, it lets SQLite take the index of the keys that are not empty."""


def write_events(connection: Connection, run: Run, origin: int) -> tuple[Stored, Sequence[int]]:
    """Write the events whose ids are new, by the run's mode.

    Return them as they stand in the log, and their indices in the run.
    """
    kept: Sequence[int] = range(len(run.events))
    if run.mode is WriteMode.IGNORE:
        kept = _unmet(connection, run)
    first = take(connection, "sequence", len(kept))
    if insert_new(connection, events, _records(run, kept, first, origin)) < len(kept):
        there = _between(connection, first, first + len(kept))
        sequences: Sequence[int] = sorted(there)
        kept = [kept[each - first] for each in sequences]
    else:
        sequences = range(first, first + len(kept))
    chosen, rows = [run.events[index] for index in kept], [run.rows[index] for index in kept]
    replaced = _supersede(connection, chosen, rows, sequences) if run.mode is WriteMode.OVERWRITE else ()
    return Stored(chosen, rows, sequences, run.mode, replaced), kept


def decode_event(each: Row[Any], item_id: str) -> Event:
    """Return the event that a row holds."""
    return Event(
        event_id=each.event_id,
        event_type=each.event_type,
        item_id=item_id,
        user_id=each.user_id,
        session_id=each.session_id,
        value=each.value,
        timestamp=each.timestamp,
        recommendation_id=each.recommendation_id,
        position=each.position,
        impressions=tuple(json.loads(each.impressions)) if each.impressions else (),
    )


def _records(run: Run, kept: Iterable[int], first: int, origin: int) -> list[tuple[Any, ...]]:
    written, rows, mode = run.events, run.rows, int(run.mode)
    return [
        (
            sequence,
            (each := written[index]).event_id,
            each.event_type,
            rows[index],
            each.user_id,
            each.session_id,
            each.value,
            each.timestamp,
            each.recommendation_id,
            each.position,
            json.dumps(each.impressions) if each.impressions else "",
            mode,
            False,
            origin,
        )
        for sequence, index in enumerate(kept, first)
    ]


def _between(connection: Connection, first: int, end: int) -> set[int]:
    query = select(events.c.sequence).where(events.c.sequence >= first, events.c.sequence < end)
    return set(connection.scalars(query))


def _key(event: Event, row: int) -> Key:
    return (event.user_id, "" if event.user_id else event.session_id, row, event.event_type)


def _unmet(connection: Connection, run: Run) -> list[int]:
    """Return which of the events have no earlier one of their key, in the log or in the run."""
    keys = [_key(event, row) for event, row in zip(run.events, run.rows, strict=True)]
    taken = {key for key, _, _ in _earlier(connection, keys)}
    kept = []
    for index, key in enumerate(keys):
        if key not in taken:
            taken.add(key)
            kept.append(index)
    return kept


def _supersede(
    connection: Connection, chosen: Sequence[Event], rows: Sequence[int], sequences: Sequence[int]
) -> list[Choice]:
    """Mark what the events take the place of, and return it."""
    keys = [_key(event, row) for event, row in zip(chosen, rows, strict=True)]
    newest = dict(zip(keys, sequences, strict=True))
    older = [each for each in _earlier(connection, list(newest)) if each[1] < newest[each[0]]]
    for part in chunks([sequence for _, sequence, _ in older]):
        connection.execute(update(events).where(events.c.sequence.in_(part)).values(superseded=True))
    return [choice for _, _, choice in older]


def _earlier(connection: Connection, keys: Sequence[Key]) -> list[tuple[Key, int, Choice]]:
    """Return the events of these keys that stand in the log: key, sequence and what they count."""
    wanted, found = set(keys), []
    users = list({user for user, _, _, _ in wanted if user})
    sessions = list({session for _, session, _, _ in wanted if session})
    for column, values in ((events.c.user_id, users), (events.c.session_id, sessions)):
        for part in chunks(values):
            query = select(events).where(column.in_(part), column != _EMPTY, ~events.c.superseded)
            for each in connection.execute(query):
                key = (each.user_id, "" if each.user_id else each.session_id, each.item_row, each.event_type)
                if key in wanted:
                    choice = Choice(each.event_type, each.item_row, each.value, each.timestamp)
                    found.append((key, each.sequence, choice))
    return list({sequence: (key, sequence, choice) for key, sequence, choice in found}.values())
