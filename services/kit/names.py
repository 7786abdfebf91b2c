"""Names of models, versions and processes: safe in a path, a URL and a log."""

from __future__ import annotations

import re

from services.kit.errors import invalid

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def is_name(value: str) -> bool:
    """Return whether `value` matches NAME (a trailing newline does not)."""
    return _NAME.fullmatch(value) is not None


def check_name(field: str, value: str) -> str:
    """Return `value`; raises InvalidArgument (FIELD_INVALID for `field`) where it is no name."""
    if not value:
        raise invalid(field, "must not be empty")
    if not is_name(value):
        raise invalid(field, f"must match {NAME}")
    return value
