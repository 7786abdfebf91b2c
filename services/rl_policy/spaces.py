"""Spaces of observations and actions, and the one row of float32 that every value of a space becomes.

A value is a numpy array (Discrete: a scalar; MultiDiscrete: one axis; Box: its shape) or, of a Dict, a
mapping of values. Its compact row is what is kept and sent between processes: a number for each Discrete
(counted from 0, whatever `start` is), a number an element of a MultiDiscrete, the elements of a Box in C
order, the parts of a Dict in the order of their names. Its flat row is what a network reads: the same with
every discrete number one-hot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.kit.errors import invalid

Floats: TypeAlias = NDArray[np.float32]
Value: TypeAlias = "NDArray[Any] | np.generic | int | float | Mapping[str, Value]"

MAX_ELEMENTS = 1 << 20
"""How large a flat row may be; every whole number up to 2**24 is exact in float32."""
DTYPES = ("float32", "float64", "uint8", "int8", "int16", "int32", "int64")


@dataclass(frozen=True)
class Discrete:
    """The whole numbers `start` … `start + n - 1`."""

    n: int
    start: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_ELEMENTS:
            raise invalid("discrete.n", f"must be from 1 to {MAX_ELEMENTS}, not {self.n}")
        if abs(self.start) > 1 << 53:
            raise invalid("discrete.start", f"must be a number that float64 knows, not {self.start}")


@dataclass(frozen=True)
class MultiDiscrete:
    """Vectors of whole numbers, each from 0 to its `nvec` - 1."""

    nvec: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.nvec or min(self.nvec) < 1 or sum(self.nvec) > MAX_ELEMENTS:
            raise invalid(
                "multi_discrete.nvec", f"must be counts of at least 1, {MAX_ELEMENTS} together at most"
            )


@dataclass(frozen=True)
class Box:
    """Arrays of `shape`, each element between its bounds; bounds have one value, or one an element."""

    shape: tuple[int, ...]
    low: tuple[float, ...] = (-inf,)
    high: tuple[float, ...] = (inf,)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if len(self.shape) > 8 or any(each < 1 for each in self.shape) or prod(self.shape) > MAX_ELEMENTS:
            raise invalid("box.shape", f"must have up to 8 axes and {MAX_ELEMENTS} elements, no empty axis")
        if self.dtype not in DTYPES:
            raise invalid("box.dtype", f"must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        for field, bounds in (("box.low", self.low), ("box.high", self.high)):
            if len(bounds) not in {1, self.size}:
                raise invalid(field, f"must have 1 or {self.size} values, not {len(bounds)}")
        if not np.all(np.asarray(self.low) <= np.asarray(self.high)):  # false for NaN, too
            raise invalid("box.low", "must not be above box.high")

    @property
    def size(self) -> int:
        """How many elements a value has."""
        return prod(self.shape)


@dataclass(frozen=True)
class Dict:
    """Values of several spaces, each under its name, in the order of the names."""

    spaces: tuple[tuple[str, Space], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.spaces]
        if not names or names != sorted(set(names)):
            raise invalid("dict.spaces", "must be named, each name once, in order")
        if flat_size(self) > MAX_ELEMENTS:
            raise invalid("dict.spaces", f"must have {MAX_ELEMENTS} elements at most, together")


Space: TypeAlias = Discrete | MultiDiscrete | Box | Dict


def check(space: Space, value: Value, field: str = "observation") -> None:
    """Pass, or raise InvalidArgument with the path of the part of `value` that is not in `space`."""
    compact(space, value, field)


def compact(space: Space, value: Value, field: str = "observation") -> Floats:
    """Return the compact row of a value, float32 (compact_size,); raises InvalidArgument as `check` does."""
    if isinstance(space, Dict):
        return _compact_dict(space, value, field)
    if isinstance(value, Mapping):
        raise invalid(field, "must be one value, not values by name")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise invalid(field, "must be numbers")
    shape = _shape(space)
    if array.shape != shape:
        raise invalid(field, f"must have the shape {list(shape)}, not {list(array.shape)}")
    low, high = _bounds(space)
    _check_numbers(array.reshape(-1), low, high, field, whole=not isinstance(space, Box))
    start = space.start if isinstance(space, Discrete) else 0
    return (array.reshape(-1) - start).astype(np.float32) if start else array.reshape(-1).astype(np.float32)


def check_rows(space: Space, rows: NDArray[Any], field: str = "observation") -> None:
    """Pass where every row (B, compact_size) is the compact row of a value, or raise InvalidArgument."""
    if rows.ndim != 2 or rows.shape[1] != compact_size(space):
        raise invalid(field, f"must have {compact_size(space)} numbers a row")
    begin = 0
    for name, part in _parts(space, field):
        size = compact_size(part)
        low, high = _bounds(part)
        start = part.start if isinstance(part, Discrete) else 0
        columns = rows[:, begin : begin + size]
        _check_numbers(columns, low - start, high - start, name, whole=not isinstance(part, Box))
        begin += size


def expand(space: Space, rows: Floats) -> Floats:
    """Return flat rows (B, flat_size) of compact rows (B, compact_size), which must have been checked."""
    parts = []
    begin = 0
    for _, part in _parts(space, ""):
        size = compact_size(part)
        columns = rows[:, begin : begin + size]
        parts.append(columns if isinstance(part, Box) else _one_hot(columns, _counts(part)))
        begin += size
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def flatten(space: Space, value: Value, field: str = "observation") -> Floats:
    """Return the flat row of a value, float32 (flat_size,); raises InvalidArgument as `check` does."""
    row: Floats = expand(space, compact(space, value, field)[None])[0]
    return row


def compact_size(space: Space) -> int:
    """Return the length of a compact row."""
    if isinstance(space, Dict):
        return sum(compact_size(each) for _, each in space.spaces)
    return prod(_shape(space))


def flat_size(space: Space) -> int:
    """Return the length of a flat row."""
    if isinstance(space, Dict):
        return sum(flat_size(each) for _, each in space.spaces)
    return space.size if isinstance(space, Box) else sum(_counts(space))


def mask_size(space: Space) -> int:
    """Return how many choices a mask of an action space names: none for a Box."""
    if isinstance(space, Dict):
        return sum(mask_size(each) for _, each in space.spaces)
    return 0 if isinstance(space, Box) else sum(_counts(space))


def states(space: Space) -> int | None:
    """Return how many values the space has; None for a Box, and where that is above MAX_ELEMENTS."""
    if isinstance(space, Box):
        return None
    parts = [space] if not isinstance(space, Dict) else [each for _, each in space.spaces]
    total = 1
    for part in parts:
        count = states(part) if isinstance(part, Box | Dict) else prod(_counts(part))
        total = 0 if count is None else total * count
    return total if 0 < total <= MAX_ELEMENTS else None


def unpack(space: Space, row: Floats) -> Value:
    """Return the value whose compact row this is, in the space's own dtype and shape."""
    if isinstance(space, Dict):
        values: dict[str, Value] = {}
        begin = 0
        for name, each in space.spaces:
            size = compact_size(each)
            values[name] = unpack(each, row[begin : begin + size])
            begin += size
        return values
    if isinstance(space, Discrete):
        return np.asarray(int(row[0]) + space.start)
    if isinstance(space, MultiDiscrete):
        return row.astype(np.int64)
    return row.reshape(space.shape).astype(space.dtype)


def _compact_dict(space: Dict, value: Value, field: str) -> Floats:
    if not isinstance(value, Mapping):
        raise invalid(field, "must be values by name")
    if unknown := sorted(set(value) - {name for name, _ in space.spaces}):
        raise invalid(f"{field}.{unknown[0][:63]}", "is not in the space")
    parts = []
    for name, each in space.spaces:
        if name not in value:
            raise invalid(f"{field}.{name}", "must be given")
        parts.append(compact(each, value[name], f"{field}.{name}"))
    return np.concatenate(parts)


def _check_numbers(
    numbers: NDArray[Any], low: NDArray[Any], high: NDArray[Any], field: str, *, whole: bool
) -> None:
    """Bounds are compared in float32: a float64 within its bounds must not fall out by rounding."""
    if whole and numbers.dtype.kind == "f" and not (np.floor(numbers) == numbers).all():
        raise invalid(field, "must be whole numbers")
    compared = numbers if whole else numbers.astype(np.float32, copy=False)
    if not (np.isfinite(compared).all() and (compared >= low).all() and (compared <= high).all()):
        raise invalid(field, _wanted(low, high))


def _wanted(low: NDArray[Any], high: NDArray[Any]) -> str:
    if low.size == 1 or (np.all(low == low.flat[0]) and np.all(high == high.flat[0])):
        return f"must be finite and from {low.flat[0]:g} to {high.flat[0]:g}"
    return "must be finite and within the bounds of its space"


def _shape(space: Discrete | MultiDiscrete | Box) -> tuple[int, ...]:
    if isinstance(space, Discrete):
        return ()
    return (len(space.nvec),) if isinstance(space, MultiDiscrete) else space.shape


def _counts(space: Discrete | MultiDiscrete) -> tuple[int, ...]:
    return (space.n,) if isinstance(space, Discrete) else space.nvec


def _bounds(space: Space) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(space, Box):
        return np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    if isinstance(space, Discrete):
        return np.asarray([space.start]), np.asarray([space.start + space.n - 1])
    assert isinstance(space, MultiDiscrete)  # noqa: S101 - a Dict is taken apart before
    return np.zeros(len(space.nvec), np.int64), np.asarray(space.nvec) - 1


def _parts(space: Space, field: str) -> list[tuple[str, Discrete | MultiDiscrete | Box]]:
    if not isinstance(space, Dict):
        return [(field, space)]
    return [each for name, inner in space.spaces for each in _parts(inner, f"{field}.{name}")]


def _one_hot(columns: Floats, counts: tuple[int, ...]) -> Floats:
    rows = np.zeros((len(columns), sum(counts)), np.float32)
    offsets = np.cumsum((0, *counts[:-1]))
    rows[np.arange(len(columns))[:, None], columns.astype(np.int64) + offsets] = 1
    return rows
