"""A published model out of its stream: what it is, then its items' factors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from trunkline.recommender.v1 import models_pb2 as pb

from services.kit.errors import invalid
from services.kit.names import check_name
from services.recommender.entities import Floats
from services.recommender.limits import MAX_IDS, check_finite, check_ids, check_number, check_text
from services.recommender.publishing import PublishedFactors

MAX_DIMENSIONS = 1_024
MAX_VALUES = 1 << 28
"""float32 values in all: a gigabyte."""


async def published(requests: AsyncIterator[pb.PublishModelRequest]) -> PublishedFactors:
    """Return the model once its stream has ended. Raises InvalidArgument for what is wrong in any message."""
    model: pb.PublishedModel | None = None
    item_ids: list[str] = []
    factors: list[Floats] = []
    async for request in requests:
        part = request.WhichOneof("part")
        if model is None:
            if part != "model":
                raise invalid("model", "must be the first message")
            model = request.model
            _check(model)
        elif part == "factors":
            _check_room(len(item_ids), model.dimensions)
            item_ids += check_ids("factors.item_ids", request.factors.item_ids, 0, MAX_IDS)
            factors.append(_rows(request.factors, model.dimensions))
        else:
            raise invalid("factors", "must be what follows the first message")
    if model is None or not item_ids:
        raise invalid("factors", "must hold at least one item")
    if len(set(item_ids)) < len(item_ids):
        raise invalid("factors.item_ids", "must be different ones")
    return PublishedFactors(
        version=model.version,
        origin=model.origin or "published",
        item_ids=tuple(item_ids),
        factors=np.concatenate(factors),
        parameters=dict(model.parameters),
        promote=model.promote,
    )


def _check(model: pb.PublishedModel) -> None:
    check_name("model.version", model.version)
    check_text("model.origin", model.origin, 62)
    check_number("model.dimensions", model.dimensions, 1, MAX_DIMENSIONS)
    for name, value in model.parameters.items():
        check_finite(f"model.parameters[{name}]", value)


def _check_room(items: int, dimensions: int) -> None:
    if items * dimensions > MAX_VALUES:
        raise invalid("factors", f"must hold at most {MAX_VALUES:,} values in all")


def _rows(message: pb.ItemFactors, dimensions: int) -> Floats:
    wanted = len(message.item_ids) * dimensions * 4
    if len(message.factors) != wanted:
        raise invalid("factors.factors", f"must hold {wanted:,} bytes, not {len(message.factors):,}")
    values = np.frombuffer(message.factors, "<f4").reshape(-1, dimensions).astype(np.float32)
    if not np.isfinite(values).all():
        raise invalid("factors.factors", "must hold finite numbers only")
    return values
