"""One entry of the catalogue, checked. Every complaint is a ValueError that names the entry and its key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from services.kit.names import NAME, is_name
from services.store.sources import check_source
from services.store.spec import DTYPES, Format, ModelSpec, Pooling, SamplingDefaults, Task

Check = Callable[[Any], Any]


def model_spec(entry: Mapping[str, Any]) -> ModelSpec:
    """Return the spec that a `[[model]]` table describes; raises ValueError."""
    name = entry.get("name")
    label = f"model {name!r}" if name else "a model without name"
    values = _checked(label, entry, _CHECKS)
    for required in ("name", "task", "source"):
        if required not in values:
            raise ValueError(f"{label}: the key {required!r} is missing")
    return ModelSpec(**values)


def _checked(label: str, table: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    values = {}
    for key, value in table.items():
        if key not in checks:
            raise ValueError(f"{label}: unknown key {key!r}; known are {', '.join(checks)}")
        try:
            values[key] = checks[key](value)
        except ValueError as error:
            raise ValueError(f"{label}: {key} {error}") from error
    return values


def _wrong(wanted: str, value: Any) -> ValueError:
    return ValueError(f"must be {wanted}, not {value!r}")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong("a string", value)
    return value


def _name(value: Any) -> str:
    if not is_name(_string(value)):
        raise ValueError(f"must match {NAME}, not {value!r}")
    return str(value)


def _sha256(value: Any) -> str:
    if not re.fullmatch(r"([0-9a-f]{64})?", _string(value)):
        raise ValueError("must be 64 lower-case hex digits, or empty for no check")
    return str(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _one_of(kind: type[StrEnum]) -> Check:
    def check(value: Any) -> StrEnum:
        try:
            return kind(value)
        except ValueError:
            raise _wrong(f"one of {', '.join(kind)}", value) from None

    return check


def _dtype(value: Any) -> str:
    if value not in DTYPES:
        raise _wrong(f"one of {', '.join(DTYPES)}", value)
    return str(value)


def _number(low: float, high: float, *, above: bool = False) -> Check:
    def check(value: Any) -> float:
        right = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not right or (above and value == low):
            raise _wrong(f"{'above' if above else 'from'} {low:g} to {high:g}", value)
        return float(value)

    return check


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong("a whole number, 0 or more", value)
    return value


def _sampling(value: Any) -> SamplingDefaults:
    if not isinstance(value, dict):
        raise _wrong("a table, [model.sampling]", value)
    return SamplingDefaults(**_checked("its table", value, _SAMPLING))


# The ranges of trunkline.inference.v1.GenerateRequest.
_SAMPLING: dict[str, Check] = {
    "temperature": _number(0, 100),
    "top_p": _number(0, 1, above=True),
    "top_k": _count,
    "min_p": _number(0, 1),
    "repetition_penalty": _number(0, 100, above=True),
}
_CHECKS: dict[str, Check] = {
    "name": _name,
    "version": _name,
    "task": _one_of(Task),
    "source": lambda value: check_source(_string(value)),
    "sha256": _sha256,
    "weights": _one_of(Format),
    "dtype": _dtype,
    "device": _string,
    "pooling": _one_of(Pooling),
    "normalize": _boolean,
    "sampling": _sampling,
    "download_bytes": _count,
    "licence": _string,
    "description": _string,
}
if set(_CHECKS) != {field.name for field in fields(ModelSpec)}:
    raise AssertionError("every field of ModelSpec needs its check")
