"""Items and their attributes, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from trunkline.recommender.v1 import items_pb2 as pb

from services.kit.errors import invalid
from services.recommender.entities import Item, Value
from services.recommender.limits import (
    MAX_EMBEDDING,
    MAX_LABELS,
    MAX_TAGS,
    MAX_TEXT_BYTES,
    MAX_WRITTEN,
    check_count,
    check_finite,
    check_id,
    check_ids,
    check_text,
    check_word,
)
from services.recommender.messages.times import length, seconds, timestamp


def items(messages: Iterable[pb.Item], now: float, *, low: int = 1) -> list[Item]:
    """Return the items, the last of each id; raises InvalidArgument, also below `low` or above 10,000."""
    listed = list(messages)
    check_count("items", listed, low, MAX_WRITTEN)
    read = (item(f"items[{index}]", each, now) for index, each in enumerate(listed))
    return list({each.item_id: each for each in read}.values())


def item(field: str, message: pb.Item, now: float) -> Item:
    """Return the item; one without a time appears `now` (Unix seconds). Raises InvalidArgument."""
    appeared = seconds(f"{field}.timestamp", message.timestamp) if message.HasField("timestamp") else now
    valid_from = seconds(f"{field}.valid_from", message.valid_from) if message.HasField("valid_from") else 0.0
    return Item(
        item_id=check_id(f"{field}.item_id", message.item_id),
        categories=check_ids(f"{field}.categories", message.categories, 0, MAX_LABELS),
        tags=check_ids(f"{field}.tags", message.tags, 0, MAX_TAGS),
        text=check_text(f"{field}.text", message.text),
        attributes=attributes(f"{field}.attributes", message.attributes),
        embedding=embedding(f"{field}.embedding", message.embedding),
        timestamp=appeared,
        valid_from=valid_from,
        valid_until=_end(field, message, appeared),
        hidden=message.hidden,
    )


def item_message(found: Item) -> pb.Item:
    """Return the message of an item."""
    return pb.Item(
        item_id=found.item_id,
        categories=found.categories,
        tags=found.tags,
        text=found.text,
        attributes=attribute_messages(found.attributes),
        embedding=found.embedding,
        timestamp=timestamp(found.timestamp),
        valid_from=timestamp(found.valid_from),
        valid_until=timestamp(found.valid_until),
        hidden=found.hidden,
    )


def attributes(field: str, messages: Mapping[str, pb.Value]) -> dict[str, Value]:
    """Return attributes by name; raises InvalidArgument."""
    check_count(field, messages, 0, MAX_LABELS)  # type: ignore[arg-type]  # a map is counted like a list
    return {check_word(field, name): _value(f"{field}.{name}", each) for name, each in messages.items()}


def attribute_messages(values: Mapping[str, Value]) -> dict[str, pb.Value]:
    """Return the messages of attributes."""
    return {name: _value_message(value) for name, value in values.items()}


def embedding(field: str, values: Iterable[float]) -> tuple[float, ...]:
    """Return a vector; raises InvalidArgument for one that is too long or not finite."""
    vector = tuple(values)
    check_count(field, vector, 0, MAX_EMBEDDING)
    if vector and not np.isfinite(np.asarray(vector, np.float32)).all():
        raise invalid(field, "must hold finite numbers only")
    return vector


def _end(field: str, message: pb.Item, appeared: float) -> float:
    match message.WhichOneof("end"):
        case "valid_until":
            return seconds(f"{field}.valid_until", message.valid_until)
        case "time_to_live":
            return appeared + length(f"{field}.time_to_live", message.time_to_live)
    return 0.0


def _value(field: str, message: pb.Value) -> Value:
    kind = message.WhichOneof("kind")
    if kind == "text":
        return check_text(field, message.text)
    if kind == "number":
        return check_finite(field, message.number)
    if kind == "flag":
        return message.flag
    if kind == "words":
        check_count(field, message.words.words, 0, MAX_TAGS)
        return tuple(check_text(field, each, MAX_TEXT_BYTES) for each in message.words.words)
    raise invalid(field, "must have a value")


def _value_message(value: Value) -> pb.Value:
    fields: dict[str, Any]
    if isinstance(value, bool):
        fields = {"flag": value}
    elif isinstance(value, str):
        fields = {"text": value}
    elif isinstance(value, tuple):
        fields = {"words": pb.Words(words=value)}
    else:
        fields = {"number": value}
    return pb.Value(**fields)
