"""What becomes of events: written by a mode, stored in an order, told to listeners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from services.recommender.entities import Event


class WriteMode(IntEnum):
    """What an event does to earlier ones of the same user (or, without one, session), item and type."""

    ACCUMULATE = 0
    """Stands beside them."""
    OVERWRITE = 1
    """Takes their place."""
    IGNORE = 2
    """Is dropped where there is one."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a call's events, all durable."""

    sequence: int
    """Of the last event in the log, this call's included: a later call has a higher one or the same."""
    accepted: int
    duplicates: int
    """Events whose id was stored before (or that mode IGNORE dropped)."""


class Choice(NamedTuple):
    """As much of an event as counts for its item."""

    event_type: str
    row: int
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Stored:
    """Events as they stand in the log, of one commit; the lists are aligned."""

    events: Sequence[Event]
    rows: Sequence[int]
    """Of their items in the catalogue."""
    sequences: Sequence[int]
    mode: WriteMode = WriteMode.ACCUMULATE
    replaced: Sequence[Choice] = ()
    """What they took the place of, where this process knows."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Events that are in the log no more."""

    user_ids: frozenset[str]
    session_ids: frozenset[str]
    choices: Sequence[Choice]
    first_sequence: int
    """Of the first of them; 0: there was none."""
    sequence: int
    """The number that the removal itself took."""
    count: int
    """How many there were, superseded ones too."""


@dataclass(slots=True)
class Run:
    """Events of one mode on their way into the log, of one call or several."""

    events: list[Event]
    rows: list[int]
    """-1 where the item is not known yet."""
    mode: WriteMode
