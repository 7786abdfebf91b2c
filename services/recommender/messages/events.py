"""Events, both ways. Reading one is half the cost of the write path: it takes a few microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.recommender.v1 import events_pb2 as pb

from services.kit.errors import InvalidArgument, Reason, Violation, invalid
from services.kit.status import to_status
from services.recommender.entities import Event
from services.recommender.limits import (
    AHEAD_S,
    MAX_EVENTS,
    MAX_ID_BYTES,
    MAX_POSITION,
    MAX_VALUE,
    check_count,
    check_id,
    check_ids,
    check_number,
    check_word,
    is_id,
    is_word,
)
from services.recommender.messages.times import seconds, timestamp
from services.recommender.store.event_log import Appended, WriteMode

_MODES: dict[int, WriteMode] = {
    pb.WRITE_MODE_UNSPECIFIED: WriteMode.ACCUMULATE,
    pb.WRITE_MODE_ACCUMULATE: WriteMode.ACCUMULATE,
    pb.WRITE_MODE_OVERWRITE: WriteMode.OVERWRITE,
    pb.WRITE_MODE_IGNORE: WriteMode.IGNORE,
}


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """The events of one message: those that can be stored, and why others cannot."""

    events: list[Event]
    rejected: list[pb.RejectedEvent]


def write_mode(value: int) -> WriteMode:
    """Return the mode; raises InvalidArgument for a number that is none."""
    mode = _MODES.get(value)
    if mode is None:
        raise invalid("write_mode", f"must be one of WriteMode's, not {value}")
    return mode


def read_events(messages: Sequence[pb.Event], now: float, *, low: int = 1) -> ReadEvents:
    """Return a message's events, judged one by one; `now` is Unix seconds, and the time of those without.

    Raises InvalidArgument for less than `low` events or more than 1,000.
    """
    check_count("events", messages, low, MAX_EVENTS)
    read, rejected, latest = [], [], now + AHEAD_S
    for index, each in enumerate(messages):
        try:
            read.append(_event(each, now, latest))
        except InvalidArgument as error:
            rejected.append(pb.RejectedEvent(index=index, status=to_status(_named(index, error))))
    return ReadEvents(read, rejected)


def event_message(event: Event) -> pb.Event:
    """Return the message of an event."""
    return pb.Event(
        event_id=event.event_id,
        event_type=event.event_type,
        item_id=event.item_id,
        user_id=event.user_id,
        session_id=event.session_id,
        value=event.value,
        timestamp=timestamp(event.timestamp),
        recommendation_id=event.recommendation_id,
        position=event.position,
        impressions=event.impressions,
    )


def recorded(appended: Appended, rejected: Sequence[pb.RejectedEvent]) -> pb.RecordEventsResponse:
    """Return what became of a call's events."""
    return pb.RecordEventsResponse(
        sequence=appended.sequence,
        accepted=appended.accepted,
        duplicates=appended.duplicates,
        rejected=rejected,
    )


def acknowledged(appended: Appended, rejected: Sequence[pb.RejectedEvent]) -> pb.StreamEventsResponse:
    """Return the acknowledgement of a stream's message."""
    return pb.StreamEventsResponse(
        sequence=appended.sequence,
        accepted=appended.accepted,
        duplicates=appended.duplicates,
        rejected=rejected,
    )


def _event(message: pb.Event, now: float, latest: float) -> Event:
    event_id, item_id, event_type = message.event_id, message.item_id, message.event_type
    user_id, session_id = message.user_id, message.session_id
    # All ids at once, in four calls of C; what is not plain is looked at again, one by one.
    ids = f"{event_id}{item_id}{user_id}{session_id}"
    plain = len(ids) <= MAX_ID_BYTES and ids.isascii() and ids.isprintable()
    if not (plain and event_id and item_id and (user_id or session_id) and is_word(event_type)):
        _check_ids(message)
    value = message.value if message.HasField("value") else 1.0
    if not -MAX_VALUE <= value <= MAX_VALUE:
        check_number("value", value, -MAX_VALUE, MAX_VALUE)
    if message.HasField("timestamp"):
        time = seconds("timestamp", message.timestamp) or now
        if time > latest:
            raise invalid("timestamp", "must not lie more than a day ahead")
    else:
        time = now
    recommendation_id, position, shown = message.recommendation_id, message.position, message.impressions
    if recommendation_id or position or shown:
        _check_context(recommendation_id, position)
        shown_ids = check_ids("impressions", shown, 0, MAX_EVENTS)
    else:
        shown_ids = ()
    return Event(
        event_id,
        event_type,
        item_id,
        user_id,
        session_id,
        value,
        time,
        recommendation_id,
        position,
        shown_ids,
    )


def _check_ids(message: pb.Event) -> None:
    check_id("event_id", message.event_id)
    check_word("event_type", message.event_type)
    check_id("item_id", message.item_id)
    if not message.user_id and not message.session_id:
        raise invalid("user_id", "or session_id must not be empty")
    for field in ("user_id", "session_id"):
        value: str = getattr(message, field)
        if value and not is_id(value):
            check_id(field, value)


def _check_context(recommendation_id: str, position: int) -> None:
    if recommendation_id:
        check_id("recommendation_id", recommendation_id)
    check_number("position", position, 0, MAX_POSITION)


def _named(index: int, error: InvalidArgument) -> InvalidArgument:
    """Return the error with its fields as the request has them: `events[3].item_id`."""
    violations = [Violation(f"events[{index}].{each.field}", each.description) for each in error.violations]
    return InvalidArgument(Reason.FIELD_INVALID, f"events[{index}].{error.message}", violations=violations)
