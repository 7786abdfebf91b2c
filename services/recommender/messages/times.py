"""Times and durations: messages on the wire, seconds inside."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.kit.errors import invalid
from services.recommender.limits import LATEST_TIME, check_number

MAX_DURATION_S = 100 * 366 * 86_400.0


def seconds(field: str, message: Timestamp) -> float:
    """Return Unix seconds; raises InvalidArgument before 1970, after 9999, or for nanos that are none."""
    if not 0 <= message.nanos < 1_000_000_000:
        raise invalid(f"{field}.nanos", f"must be from 0 to 999999999, not {message.nanos}")
    return check_number(f"{field}.seconds", message.seconds, 0, LATEST_TIME) + message.nanos * 1e-9


def timestamp(value: float) -> Timestamp | None:
    """Return the message of Unix seconds; None, which leaves a field unset, for 0."""
    if not value:
        return None
    whole = int(value // 1)
    return Timestamp(seconds=whole, nanos=min(round((value - whole) * 1e6) * 1_000, 999_999_999))


def length(field: str, message: Duration, low: float = 0.0, high: float = MAX_DURATION_S) -> float:
    """Return a duration in seconds; raises InvalidArgument unless it lies from `low` to `high` seconds."""
    return check_number(field, message.seconds + message.nanos * 1e-9, low, high)


def duration(value: float) -> Duration:
    """Return the message of a duration in seconds."""
    message = Duration()
    message.FromNanoseconds(int(value * 1e9))
    return message
