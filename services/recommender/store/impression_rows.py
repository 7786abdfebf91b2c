"""Lists that were shown, as rows of the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from services.recommender.store.bulk import insert_new
from services.recommender.store.schema import impressions


@dataclass(frozen=True, slots=True)
class Impression:
    """A list that was shown."""

    recommendation_id: str
    rows: tuple[int, ...]
    """Of the items, in the order shown."""
    sources: tuple[str, ...]
    """Aligned with `rows`."""
    user_id: str = ""
    session_id: str = ""
    timestamp: float = 0.0
    scenario: str = ""
    experiment: str = ""
    variant: str = ""
    version: str = ""
    """Of the model; empty: none."""


def write_impressions(connection: Connection, shown: Sequence[Impression]) -> None:
    """Write the lists whose ids are new."""
    insert_new(connection, impressions, [_encode(each) for each in shown])


def read_impressions(connection: Connection, condition: Any, limit: int = 1_000_000) -> list[Impression]:
    """Return the lists that fit, in order of time."""
    query = select(impressions).where(condition)
    ordered = query.order_by(impressions.c.timestamp, impressions.c.recommendation_id)
    return [_decode(each) for each in connection.execute(ordered.limit(limit))]


def _encode(shown: Impression) -> tuple[Any, ...]:
    body = {
        "scenario": shown.scenario,
        "experiment": shown.experiment,
        "variant": shown.variant,
        "version": shown.version,
        "rows": shown.rows,
        "sources": shown.sources,
    }
    return (shown.recommendation_id, shown.user_id, shown.session_id, shown.timestamp, json.dumps(body))


def _decode(each: Row[Any]) -> Impression:
    body = json.loads(each.body)
    return Impression(
        recommendation_id=each.recommendation_id,
        rows=tuple(body["rows"]),
        sources=tuple(body["sources"]),
        user_id=each.user_id,
        session_id=each.session_id,
        timestamp=each.timestamp,
        scenario=body["scenario"],
        experiment=body["experiment"],
        variant=body["variant"],
        version=body["version"],
    )
