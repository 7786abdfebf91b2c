"""Items as rows of the database: written, entered by their ids alone, and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, delete, insert, select, update

from services.recommender.entities import Item, Value
from services.recommender.store.chunks import chunks
from services.recommender.store.marks import take
from services.recommender.store.schema import items

_NOTHING: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as it stands in the catalogue, its embedding aside."""

    row: int
    item: Item
    embedding: NDArray[np.float32] | None
    deleted: bool = False


def as_row(row: int, item: Item) -> ItemRow:
    """Return the item as it stands in the catalogue once it is written."""
    if not item.embedding:
        return ItemRow(row, item, None)
    return ItemRow(row, replace(item, embedding=()), np.array(item.embedding, np.float32))


def read_items(connection: Connection, *, after: int | None = None, origin: int = 0) -> Iterator[ItemRow]:
    """Yield all items by row; or, with `after`, what others than `origin` changed since that change."""
    query = select(items).order_by(items.c.row)
    if after is not None:
        query = query.where(items.c.change > after, items.c.origin != origin)
    for each in connection.execute(query.execution_options(yield_per=10_000)):
        yield _decode(each)


def write_items(connection: Connection, written: Sequence[Item], origin: int) -> list[int]:
    """Write the items whole, each once, and return their rows; those of known ids stay."""
    rows = rows_of(connection, [each.item_id for each in written])
    new = [each.item_id for each in written if each.item_id not in rows]
    first = take(connection, "row", len(new)) if new else 0
    rows.update(zip(new, range(first, first + len(new)), strict=True))
    for part in chunks(list(rows.values())):
        connection.execute(delete(items).where(items.c.row.in_(part)))
    change = take(connection, "change")
    encoded = [_encode(rows[each.item_id], each, change, origin) for each in written]
    if encoded:
        connection.execute(insert(items), encoded)
    return [rows[each.item_id] for each in written]


def enter_items(connection: Connection, item_ids: Sequence[str], origin: int) -> dict[str, int]:
    """Return the rows of the ids; unknown ones are entered, with nothing but their ids."""
    wanted = list(dict.fromkeys(item_ids))
    rows = rows_of(connection, wanted)
    new = [each for each in wanted if each not in rows]
    if new:
        rows.update(zip(new, write_items(connection, [Item(each) for each in new], origin), strict=True))
    return rows


def mark_items(connection: Connection, rows: Sequence[int], origin: int, values: Mapping[str, Any]) -> None:
    """Change columns of the items in these rows."""
    change = take(connection, "change")
    for part in chunks(rows):
        query = update(items).where(items.c.row.in_(part))
        connection.execute(query.values(change=change, origin=origin, **values))


def delete_items(connection: Connection, rows: Sequence[int], origin: int) -> None:
    """Leave nothing of the items but their ids, rows and events."""
    times = {"timestamp": 0.0, "valid_from": 0.0, "valid_until": 0.0}
    values = {"deleted": True, "hidden": False, "body": "{}", "embedding": b"", **times}
    mark_items(connection, rows, origin, values)


def rows_of(connection: Connection, item_ids: Sequence[str]) -> dict[str, int]:
    """Return the rows of the ids that are known."""
    found: dict[str, int] = {}
    for part in chunks(item_ids):
        query = select(items.c.item_id, items.c.row).where(items.c.item_id.in_(part))
        found.update(connection.execute(query).all())
    return found


def _encode(row: int, item: Item, change: int, origin: int) -> dict[str, Any]:
    full = {
        "categories": item.categories,
        "tags": item.tags,
        "text": item.text,
        "attributes": dict(item.attributes),
    }
    return {
        "row": row,
        "item_id": item.item_id,
        "deleted": False,
        "hidden": item.hidden,
        "timestamp": item.timestamp,
        "valid_from": item.valid_from,
        "valid_until": item.valid_until,
        "body": json.dumps({name: value for name, value in full.items() if value}),
        "embedding": np.array(item.embedding, "<f4").tobytes(),
        "change": change,
        "origin": origin,
    }


def _decode(each: Row[Any]) -> ItemRow:
    body = json.loads(each.body) if each.body != "{}" else {}
    item = Item(
        item_id=each.item_id,
        categories=tuple(body.get("categories", ())),
        tags=tuple(body.get("tags", ())),
        text=body.get("text", ""),
        attributes=decoded_attributes(body),
        timestamp=each.timestamp,
        valid_from=each.valid_from,
        valid_until=each.valid_until,
        hidden=bool(each.hidden),
    )
    embedding = np.frombuffer(each.embedding, "<f4").astype(np.float32) if each.embedding else None
    return ItemRow(each.row, item, embedding, bool(each.deleted))


def decoded_attributes(body: Mapping[str, Any]) -> Mapping[str, Value]:
    """Return the attributes of a body of JSON; its lists are tuples again."""
    attributes: Mapping[str, Any] | None = body.get("attributes")
    if not attributes:
        return _NOTHING
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
