"""Messages of any type of the policies' contract, mostly right and somewhere odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

WORDS = ("corridor", "q_learning", "stable", "a", "b", "CartPole-v1", "once")
ODD_TEXTS = ("", "\x00", "\u202e", "é" * 200, "x" * 300, "x" * 70_000, "../../etc", "A B", "os:system")
NUMBERS = (0, 1, 2, 3, 5, 6)
ODD_NUMBERS = (-1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, 0.5, 1.0, 10.0)
ODD_FLOATS = (-1.0, float("nan"), float("inf"), float("-inf"), 1e30, 1e-30, 3.4e38, 1e308)
BYTES = (b"", b"\x01", b"\x00" * 8, b"\x01" + b"\x00" * 7, b"\x00\x00\x80\x3f", b"\xff" * 8)
DEEPEST = 4
_FLOATING = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-3, 20),
}
Known = Mapping[str, Sequence[Any]]
"""Values of fields, by their name, that are really there."""


@st.composite
def messages(draw: Draw, descriptor: Descriptor, known: Known, depth: int = 0) -> Message:
    """Return a message of this type; most fields are set, one value in six is odd."""
    message: Message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.name in known or draw(st.integers(0, 2 + depth)) < 2:
            _set(draw, message, field, known, depth)
    return message


def _set(draw: Draw, message: Message, field: FieldDescriptor, known: Known, depth: int) -> None:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        _set_map(draw, getattr(message, field.name), entry, known, depth)
    elif field.is_repeated:
        values = [_value(draw, field, known, depth) for _ in range(draw(st.integers(0, 3)))]
        getattr(message, field.name).extend(each for each in values if each is not None)
    elif entry is not None:
        value = _value(draw, field, known, depth)
        if value is not None:
            getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, _value(draw, field, known, depth))


def _set_map(draw: Draw, target: Any, entry: Descriptor, known: Known, depth: int) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    name, found = _value(draw, key, known, depth), _value(draw, value, known, depth)
    if value.message_type is None:
        target[name] = found
    elif found is not None:
        target[name].CopyFrom(found)


def _value(draw: Draw, field: FieldDescriptor, known: Known, depth: int) -> Any:
    kind = field.cpp_type
    odd = draw(st.integers(0, 5)) == 0
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return draw(messages(field.message_type, known, depth + 1)) if depth < DEEPEST else None
    if field.name in known and not odd:
        return draw(st.sampled_from(known[field.name]))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.sampled_from(BYTES))
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=20) if odd else st.sampled_from(WORDS))
    if kind in _FLOATING:
        return draw(st.sampled_from(ODD_FLOATS) | st.floats(width=32) if odd else st.sampled_from(FLOATS))
    low, high = _LIMITS[kind]
    number: int = draw(st.sampled_from(ODD_NUMBERS if odd else NUMBERS))
    return min(max(number, low), high)
