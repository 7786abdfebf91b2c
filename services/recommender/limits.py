"""The limits of fields: checked at the door, before anything is done. The proto's comments name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import isfinite

from services.kit.errors import invalid

MAX_ID_BYTES = 256
MAX_IDS = 10_000
MAX_EVENTS = 1_000
MAX_BATCH_USERS = 1_000
MAX_WRITTEN = 10_000
MAX_LABELS = 100
MAX_TAGS = 1_000
MAX_TEXT_BYTES = 64 << 10
MAX_FILTER_BYTES = 4_096
MAX_EMBEDDING = 4_096
MAX_RESULTS = 1_000
DEFAULT_RESULTS = 10
MAX_RULES = 100
MAX_BOOST = 1_000.0
MAX_VALUE = 1e9
MAX_POSITION = 100_000
LATEST_TIME = 253_402_300_799.0
"""The end of the year 9999, in Unix seconds: the last that a Timestamp can say."""
AHEAD_S = 86_400.0
"""How far in the future an event may lie: clocks differ; what lies further would outweigh all that fades."""

NAME = r"^[a-z][a-z0-9_]{0,62}$"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_id(value: str) -> bool:
    """Return whether `value` is 1 to 256 bytes of UTF-8 without control characters."""
    if value.isascii():
        return 0 < len(value) <= MAX_ID_BYTES and value.isprintable()
    return len(value.encode()) <= MAX_ID_BYTES and _CONTROL.search(value) is None


def check_id(field: str, value: str) -> str:
    """Return `value`; raises InvalidArgument unless it is an id."""
    if is_id(value):
        return value
    if not value:
        raise invalid(field, "must not be empty")
    raise invalid(field, f"must be 1 to {MAX_ID_BYTES} bytes of UTF-8 without control characters")


def check_ids(field: str, values: Iterable[str], low: int = 1, high: int = MAX_IDS) -> tuple[str, ...]:
    """Return `values`; raises InvalidArgument unless they are `low` to `high` ids."""
    ids = tuple(values)
    check_count(field, ids, low, high)
    if not all(map(is_id, ids)):
        for index, each in enumerate(ids):
            check_id(f"{field}[{index}]", each)
    return ids


def check_count(field: str, values: Sequence[object], low: int, high: int) -> None:
    """Raise InvalidArgument unless there are `low` to `high` values."""
    if not low <= len(values) <= high:
        raise invalid(field, f"must hold {low:,} to {high:,} values, not {len(values):,}")


@lru_cache(maxsize=4_096)
def is_word(value: str) -> bool:
    """Return whether `value` names an event type or an attribute: NAME."""
    return _NAME.fullmatch(value) is not None


def check_word(field: str, value: str) -> str:
    """Return `value`; raises InvalidArgument unless it matches NAME."""
    if not is_word(value):
        raise invalid(field, f"must match {NAME}")
    return value


def check_text(field: str, value: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Return `value`; raises InvalidArgument where it is longer than `limit` bytes of UTF-8."""
    if len(value) > limit or (len(value) * 4 > limit and len(value.encode()) > limit):
        raise invalid(field, f"must be at most {limit:,} bytes of UTF-8")
    return value


def check_number(field: str, value: float, low: float, high: float) -> float:
    """Return `value`; raises InvalidArgument unless it lies from `low` to `high` (NaN does not)."""
    if not low <= value <= high:
        raise invalid(field, f"must be from {low:g} to {high:g}, not {value:g}")
    return value


def check_finite(field: str, value: float) -> float:
    """Return `value`; raises InvalidArgument for NaN and infinities."""
    if not isfinite(value):
        raise invalid(field, f"must be a finite number, not {value}")
    return value


def check_results(value: int) -> int:
    """Return how many results are wanted, the default for 0; raises InvalidArgument above the most."""
    return int(check_number("max_results", value or DEFAULT_RESULTS, 1, MAX_RESULTS))
