"""What both signals share: resources, attributes and their values."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from services.kit import semconv
from services.monitor.points import Attributes, Origin

MAX_ATTRIBUTES = 32
NAME_LENGTH = 128
VALUE_LENGTH = 256


def origin(resource: Resource) -> Origin:
    """Return which process this is; one that does not say has "unknown_service" or no instance."""
    values = {pair.key: text(pair.value)[:NAME_LENGTH] for pair in resource.attributes}
    return Origin(
        values.get(semconv.SERVICE_NAME) or "unknown_service", values.get(semconv.SERVICE_INSTANCE_ID, "")
    )


def attributes(pairs: Sequence[KeyValue]) -> Attributes:
    """Return the first MAX_ATTRIBUTES as text, sorted by key, each cut; the last of equal keys stands."""
    if not pairs:
        return ()
    chosen = {pair.key[:NAME_LENGTH]: text(pair.value)[:VALUE_LENGTH] for pair in pairs[:MAX_ATTRIBUTES]}
    return tuple(sorted(chosen.items()))


def text(value: AnyValue) -> str:
    """Return a value as people write it: lists as `[a, b]`, bytes in hex, booleans in lower case."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "array_value":
        return "[" + ", ".join(text(each) for each in value.array_value.values) + "]"
    if kind == "kvlist_value":
        return "{" + ", ".join(f"{pair.key}: {text(pair.value)}" for pair in value.kvlist_value.values) + "}"
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind == "bool_value":
        return str(value.bool_value).lower()
    return "" if kind is None else str(getattr(value, kind))
