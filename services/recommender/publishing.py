"""A model that was trained elsewhere becomes a version: its items' factors, and users folded in here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.kit.errors import AlreadyExists, Reason, invalid
from services.recommender.entities import Floats
from services.recommender.models.factors import Factors, Fold
from services.recommender.models.ials import Ials
from services.recommender.models.kinds import algorithm
from services.recommender.models.version_files import write_version
from services.recommender.store.registry import Version
from services.recommender.store.store import RecommenderStore


@dataclass(frozen=True)
class PublishedFactors:
    """What a stream of PublishModel brought."""

    version: str
    origin: str
    item_ids: tuple[str, ...]
    factors: Floats
    """(items, d) float32."""
    parameters: Mapping[str, float]
    """Of the fold-in, by iALS's names."""
    promote: bool


async def publish(model: PublishedFactors, store: RecommenderStore) -> str:
    """Write and enter the version; return its name.

    Raises InvalidArgument where no item is known here or a parameter is none of iALS's, AlreadyExists
    (REQUEST_ID_REUSED) for a version of this name.
    """
    folding = _folding(model.parameters)
    rows = store.catalogue.rows_of(model.item_ids)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise invalid("factors.item_ids", "must name at least one item that is here")
    ids = [model.item_ids[each] for each in known]
    factors = Factors("ials", model.factors[known], folding, dict(model.parameters))
    sequence = store.log.sequence
    about = {"origin": model.origin, "items": len(ids), "weights": {"ials": 1.0}, "sequence": sequence}
    folder = store.registry.path(model.version)
    if folder.exists():
        raise AlreadyExists(
            Reason.REQUEST_ID_REUSED,
            f"there is a version {model.version!r} already",
            metadata={"version": model.version},
        )
    manifest = await asyncio.to_thread(write_version, folder, {"ials": factors}, ids, rows[known], about)
    entered = {**manifest, "catalogue_rows": len(store.catalogue)}
    await store.registry.add(Version(model.version, sequence=sequence, manifest=entered))
    return model.version


def _folding(parameters: Mapping[str, float]) -> Fold:
    chosen = algorithm("ials", parameters)
    if not isinstance(chosen, Ials):
        raise TypeError("ials is not iALS")
    return Fold(chosen.alpha, chosen.regularisation, chosen.exponent)
