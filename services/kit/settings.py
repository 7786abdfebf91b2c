"""Settings: one frozen dataclass a process, every field with a default, a unit and a sentence, read once."""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class SettingsError(SystemExit):
    """A variable has a value that cannot be used. Uncaught, its sentence ends the process."""


@dataclass(frozen=True)
class Setting:
    """One variable, as documentation wants it."""

    variable: str
    default: Any
    unit: str
    help: str


def setting(default: Any, help: str, *, env: str | None = None, unit: str = "") -> Any:  # noqa: A002 - as argparse
    """Return a dataclass field that `read` fills from the variable `env` (else `TRUNKLINE_<FIELD NAME>`)."""
    return field(default=default, metadata={"help": help, "env": env, "unit": unit})


def read(cls: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """Return `cls` filled from `environ`; unset variables leave the default.

    Types: str, int, float, bool, Path (`~` is expanded), tuple[str, ...] (comma list), an Enum by value,
    `X | None` (empty is None), and settings dataclasses, read in turn. An empty value is a value for
    str, tuple and `| None`, and the default for the others. Raises SettingsError for a value that its type
    refuses.
    """
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for each in fields(cls):  # type: ignore[arg-type]  # read's T is a dataclass; typeshed has no bound for that
        kind = hints[each.name]
        if isinstance(kind, type) and is_dataclass(kind):
            values[each.name] = read(kind, environ)
        elif "help" in each.metadata:
            values[each.name] = _value(each, kind, environ)
    try:
        return cls(**values)
    except ValueError as error:
        raise SettingsError(f"The settings do not fit together: {error}") from error


def describe(cls: type[Any]) -> Iterator[Setting]:
    """Yield every variable that `read(cls)` looks at."""
    hints = get_type_hints(cls)
    for each in fields(cls):
        if isinstance(hints[each.name], type) and is_dataclass(hints[each.name]):
            yield from describe(hints[each.name])
        elif "help" in each.metadata:
            yield Setting(variable(each), each.default, each.metadata["unit"], each.metadata["help"])


def variable(of: Field[Any]) -> str:
    """Return the name of the variable that fills this field."""
    return of.metadata["env"] or f"TRUNKLINE_{of.name.upper()}"


def _value(of: Field[Any], kind: Any, environ: Mapping[str, str]) -> Any:
    name = variable(of)
    text = environ.get(name)
    if text is None or (text.strip() == "" and not _takes_empty(kind)):
        default = of.default if of.default is not MISSING else None
        return default.expanduser() if isinstance(default, Path) else default
    try:
        return _parse(kind, text.strip())
    except ValueError as error:
        unit = f" ({of.metadata['unit']})" if of.metadata["unit"] else ""
        wanted = f"{name} must be {error}{unit}"
        raise SettingsError(f"{wanted}, not {text!r}: {of.metadata['help']}") from error


def _takes_empty(kind: Any) -> bool:
    return kind is str or get_origin(kind) in {tuple, Union, types.UnionType}


def _parse(kind: Any, text: str) -> Any:
    """Return the value that `text` stands for; raises ValueError with what it must be."""
    if get_origin(kind) in {Union, types.UnionType}:
        inner = next(each for each in get_args(kind) if each is not type(None))
        return _parse(inner, text) if text else None
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, text)
    parse, noun = _PARSERS[kind]
    try:
        return parse(text)
    except ValueError:
        raise ValueError(noun) from None


def _member(kind: type[Enum], text: str) -> Enum:
    try:
        return kind(text)
    except ValueError:
        raise ValueError("one of " + ", ".join(str(each.value) for each in kind)) from None


def _bool(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (_number, "a number"),
    bool: (_bool, "true or false"),
    Path: (lambda text: Path(text).expanduser(), "a path"),
}
