"""Hyper-parameters are checked where they are born; what is wrong is said as every field's error is."""

from __future__ import annotations

import math

from services.kit.errors import invalid


def check(field: str, value: float, *, least: float | None = None, above: float | None = None) -> None:
    """Raise InvalidArgument unless `value` is a finite number from `least`, or above `above`."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if least is not None and not (number and value >= least):
        raise invalid(field, f"must be at least {least:g}, not {value}")
    if above is not None and not (number and value > above):
        raise invalid(field, f"must be above {above:g}, not {value}")
