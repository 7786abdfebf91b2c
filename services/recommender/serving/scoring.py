"""Scoring: the histories of a batch become one blended matrix of scores, and its best columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats
from services.recommender.models.model import Reads
from services.recommender.serving.ann import nearest
from services.recommender.serving.blending import Blend, reciprocal_ranks, z_scores
from services.recommender.serving.served import Served
from services.recommender.serving.taste import Taste, matrix
from services.recommender.serving.topk import top_k

LARGEST = 16 << 20
"""Scores of one matrix: 64 MB a source."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is scored together: the same version, sources and filter."""

    served: Served
    models: Mapping[str, float]
    """Weights by the models' names; at least one."""
    vectors: Mapping[str, tuple[float, Floats]]
    """Weights and (columns,) scores of sources that are the same for everybody."""
    blend: Blend
    tastes: Sequence[Taste]
    penalty: Floats
    """(columns,): added to all scores, -inf for what may not be shown."""
    excluded: Sequence[NDArray[np.int32]]
    """The columns that each user is not shown."""
    included: Sequence[NDArray[np.int32] | None]
    """The only columns that each user is shown; None: any."""
    pools: Sequence[int]
    """How many candidates each user needs."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The best columns of each row, best first, and the scores of all."""

    columns: NDArray[np.intp]
    """(B, k)."""
    values: Floats
    """(B, k); -inf where there was nothing left."""
    sources: NDArray[np.intp]
    """(B, k) which of `names` spoke most for each."""
    names: tuple[str, ...]
    row: Callable[[int], Floats] = field(repr=False)
    """Returns (columns,) all scores of a row as they were ranked, -inf for what may not be shown."""


def score(work: Work) -> Scored:
    """Return the candidates of each user of the batch. Pure: any thread may call it."""
    return _nearly(work) or _exactly(work)


def _exactly(work: Work) -> Scored:
    parts = _parts(work)
    total = np.sum(list(parts.values()), axis=0, dtype=np.float32) if len(parts) > 1 else _only(parts)
    total += work.penalty
    _leave_out(total, work)
    columns, values = top_k(total, max(work.pools))
    return Scored(columns, values, _speakers(parts, columns), tuple(parts), total.__getitem__)


def _nearly(work: Work) -> Scored | None:
    """Return the candidates by the version's index; None where it has none, or does not suffice."""
    index = work.served.index
    penalised = np.isfinite(work.penalty) & (work.penalty != 0)
    only_one = index is not None and list(work.models) == [index.name] and not work.vectors
    if index is None or not only_one or any(each is not None for each in work.included) or penalised.any():
        return None
    model = work.served.models[index.name]
    users = model.fold(_histories(work, model.reads))
    if users is None:
        return None
    found = nearest(index, users, max(work.pools), list(work.excluded), work.penalty)
    if found is None:
        return None
    columns, values = found
    speakers = np.zeros(columns.shape, np.intp)
    return Scored(columns, values, speakers, (index.name,), lambda place: _row(work, place))


def _row(work: Work, place: int) -> Floats:
    """Return all scores of one row, exactly."""
    alone = replace(work, tastes=[work.tastes[place]], excluded=[work.excluded[place]], included=[None])
    return _exactly(alone).row(0)


def _parts(work: Work) -> dict[str, Floats]:
    """Return each source's weighted, comparable scores: (B, columns), or (1, columns) for all alike."""
    comparable = z_scores if work.blend == "z_score" else reciprocal_ranks
    histories = {
        way: _histories(work, way) for way in {work.served.models[name].reads for name in work.models}
    }
    parts = {}
    for name, weight in work.models.items():
        model = work.served.models[name]
        parts[name] = comparable(model.scores(histories[model.reads])) * np.float32(weight)
    for name, (weight, vector) in work.vectors.items():
        parts[name] = comparable(vector[None, :]) * np.float32(weight)
    return parts


def _histories(work: Work, way: Reads) -> csr_matrix:
    return matrix(work.tastes, work.served.columns, work.served.items, way)


def _only(parts: Mapping[str, Floats]) -> Floats:
    """Return the one part, as an array of its own."""
    return next(iter(parts.values())).copy()


def _leave_out(total: Floats, work: Work) -> None:
    for place, only in enumerate(work.included):
        if only is not None:
            kept = total[place, only]
            total[place] = -np.inf
            total[place, only] = kept
    lengths = [len(each) for each in work.excluded]
    if any(lengths):
        total[np.repeat(np.arange(len(lengths)), lengths), np.concatenate(work.excluded)] = -np.inf


def _speakers(parts: Mapping[str, Floats], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(parts) == 1:
        return np.zeros(columns.shape, np.intp)
    shares = [
        np.take_along_axis(np.broadcast_to(part, (len(columns), part.shape[1])), columns, axis=1)
        for part in parts.values()
    ]
    return np.asarray(np.argmax(shares, axis=0), np.intp)
