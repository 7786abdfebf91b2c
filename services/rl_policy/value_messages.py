"""Values and tensors as messages, and the rows that the domain knows; both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trunkline.policy.v1 import values_pb2 as pb

from services.kit.errors import invalid
from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Bools
from services.rl_policy.spaces import Box, Dict, Discrete, Floats, MultiDiscrete, Space, Value

MAX_AXES = 9

_DTYPES: Mapping[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_FLOAT64: np.dtype("<f8"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
    pb.DATA_TYPE_INT8: np.dtype("i1"),
    pb.DATA_TYPE_INT16: np.dtype("<i2"),
    pb.DATA_TYPE_INT32: np.dtype("<i4"),
    pb.DATA_TYPE_INT64: np.dtype("<i8"),
}
DTYPE_NAMES: Mapping[int, str] = {kind: dtype.name for kind, dtype in _DTYPES.items()}


def decode_tensor(tensor: pb.Tensor, field: str) -> NDArray[Any]:
    """Return the array; raises InvalidArgument where type, shape and bytes do not fit, before it is made."""
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise invalid(f"{field}.data_type", "must be one of DataType")
    shape = tuple(tensor.shape)
    if len(shape) > MAX_AXES or any(each < 0 for each in shape):
        raise invalid(f"{field}.shape", f"must have at most {MAX_AXES} axes, none negative")
    if prod(shape) * dtype.itemsize != len(tensor.data):
        raise invalid(f"{field}.data", f"must be the shape's {prod(shape) * dtype.itemsize} bytes")
    return np.frombuffer(tensor.data, dtype).reshape(shape)


def encode_tensor(array: NDArray[Any]) -> pb.Tensor:
    """Return a tensor of float32, float64 or int64, as the array is."""
    kind = {"f4": pb.DATA_TYPE_FLOAT32, "f8": pb.DATA_TYPE_FLOAT64}.get(array.dtype.str[1:])
    little = array.astype("<i8" if kind is None else array.dtype.newbyteorder("<"), copy=False)
    data_type = pb.DATA_TYPE_INT64 if kind is None else kind
    return pb.Tensor(data_type=data_type, shape=array.shape, data=little.tobytes())


def decode_value(message: pb.Value, space: Space, field: str) -> Floats:
    """Return a value's compact row (compact_size,); raises InvalidArgument where it is not in `space`."""
    return spaces.compact(space, _value(message, space, field), field)


def encode_value(space: Space, row: Floats) -> pb.Value:
    """Return the value of a compact row in the easy form of its space."""
    match space:
        case Discrete():
            return pb.Value(integer=int(row[0]) + space.start)
        case MultiDiscrete():
            return pb.Value(integers=pb.Integers(values=row.astype(np.int64).tolist()))
        case Box():
            return pb.Value(numbers=pb.Numbers(values=row.tolist()))
        case Dict():
            return pb.Value(fields=pb.Values(values=_encode_fields(space, row)))


def decode_rows(tensor: pb.Tensor, space: Space, count: int, field: str) -> Floats:
    """Return `count` compact rows of a tensor (count, …); raises InvalidArgument as `decode_value`."""
    array = decode_tensor(tensor, field)
    shape = (count, *row_shape(space))
    if array.shape != shape:
        raise invalid(field, f"must have the shape {list(shape)}, not {list(array.shape)}")
    rows = array.reshape(count, -1)
    if isinstance(space, Discrete) and space.start:
        rows = rows - space.start
    spaces.check_rows(space, rows, field)
    return rows.astype(np.float32)


def encode_rows(space: Space, rows: Floats) -> pb.Tensor:
    """Return rows (B, compact_size) as one tensor (B, …): int64 for discrete numbers, float32 for others."""
    shape = (len(rows), *row_shape(space))
    if isinstance(space, Box | Dict):
        return encode_tensor(rows.reshape(shape))
    start = space.start if isinstance(space, Discrete) else 0
    return encode_tensor((rows.astype(np.int64) + start).reshape(shape))


def row_shape(space: Space) -> tuple[int, ...]:
    """Return the axes of one value within a tensor of many; a Dict travels as its compact row."""
    match space:
        case Discrete():
            return ()
        case MultiDiscrete():
            return (len(space.nvec),)
        case Box():
            return space.shape
        case Dict():
            return (spaces.compact_size(space),)


def decode_mask(mask: Sequence[bool], action: Space, field: str) -> Bools:
    """Return a mask (choices,); empty allows all. Raises InvalidArgument where it allows nothing."""
    choices = spaces.mask_size(action)
    if not mask:
        return np.ones(choices, np.bool_)
    if len(mask) != choices:
        raise invalid(field, f"must be empty or have {choices} flags, not {len(mask)}")
    row: Bools = check_masks(np.asarray([mask], np.bool_), action, field)[0]
    return row


def decode_masks(data: bytes, count: int, action: Space, field: str) -> Bools:
    """Return `count` masks (count, choices) of a byte each; no bytes allow all."""
    choices = spaces.mask_size(action)
    if not data:
        return np.ones((count, choices), np.bool_)
    if len(data) != count * choices:
        raise invalid(field, f"must be empty or have {count * choices} bytes, not {len(data)}")
    flags = np.frombuffer(data, np.uint8).reshape(count, choices)
    if flags.max(initial=0) > 1:
        raise invalid(field, "must have bytes of 0 and 1")
    return check_masks(flags.astype(np.bool_), action, field)


def check_masks(masks: Bools, action: Space, field: str) -> Bools:
    """Return `masks` (B, choices), each of which allows something for every component of an action."""
    begin = 0
    for count in _counts(action):
        if not masks[:, begin : begin + count].any(axis=1).all():
            raise invalid(field, "must allow at least one choice")
        begin += count
    return masks


def _counts(action: Space) -> tuple[int, ...]:
    if isinstance(action, Discrete):
        return (action.n,)
    return action.nvec if isinstance(action, MultiDiscrete) else ()


def _value(message: pb.Value, space: Space, field: str) -> Value:
    match message.WhichOneof("kind"):
        case "integer":
            return message.integer
        case "integers":
            return np.asarray(message.integers.values, np.int64)
        case "numbers":
            return _numbers(message, space, field)
        case "tensor":
            return decode_tensor(message.tensor, f"{field}.tensor")
        case "fields":
            return _fields(message, space, field)
    raise invalid(field, "must be given")


def _numbers(message: pb.Value, space: Space, field: str) -> Value:
    numbers = np.asarray(message.numbers.values, np.float32)
    if not isinstance(space, Box):
        return numbers.reshape(()) if isinstance(space, Discrete) and numbers.size == 1 else numbers
    if numbers.size != space.size:
        raise invalid(field, f"must have {space.size} numbers, not {numbers.size}")
    return numbers.reshape(space.shape)


def _fields(message: pb.Value, space: Space, field: str) -> Value:
    if not isinstance(space, Dict):
        raise invalid(field, "must be one value, not values by name")
    known = dict(space.spaces)
    sent = message.fields.values
    if unknown := sorted(set(sent) - set(known)):
        raise invalid(f"{field}.{unknown[0][:63]}", "is not in the space")
    return {name: _value(each, known[name], f"{field}.{name}") for name, each in sent.items()}


def _encode_fields(space: Dict, row: Floats) -> dict[str, pb.Value]:
    fields = {}
    begin = 0
    for name, each in space.spaces:
        size = spaces.compact_size(each)
        fields[name] = encode_value(each, row[begin : begin + size])
        begin += size
    return fields
