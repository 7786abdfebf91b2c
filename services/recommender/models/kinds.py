"""The algorithms by name: to train one from hyper-parameters, to make a model again from a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from services.kit.errors import invalid
from services.recommender.models.algorithm import Algorithm
from services.recommender.models.biased_mf import BiasedMf
from services.recommender.models.bpr import Bpr
from services.recommender.models.content import Content, restore_content
from services.recommender.models.ease import Ease
from services.recommender.models.factors import restore_factors
from services.recommender.models.ials import Ials
from services.recommender.models.item_item import restored
from services.recommender.models.item_knn import ItemKnn
from services.recommender.models.model import Arrays, Config, Model
from services.recommender.models.popularity import Popularity, restore_popularity
from services.recommender.models.ratings import restore_ratings
from services.recommender.models.transitions import Transitions
from services.recommender.models.user_knn import UserKnn, restore_user_knn

ALGORITHMS: Mapping[str, Callable[..., Algorithm]] = {
    each.name: each
    for each in (Ease, ItemKnn, UserKnn, Ials, Bpr, BiasedMf, Content, Popularity, Transitions)
}

_RESTORERS: Mapping[str, Callable[[Config, Arrays], Model]] = {
    "ease": restored("ease", "preference"),
    "item_knn": restored("item_knn", "preference"),
    "transitions": restored("transitions", "recency"),
    "user_knn": restore_user_knn,
    "ials": partial(restore_factors, "ials"),
    "bpr": partial(restore_factors, "bpr"),
    "biased_mf": restore_ratings,
    "content": restore_content,
    "popularity": restore_popularity,
}


def algorithm(kind: str, parameters: Mapping[str, float]) -> Algorithm:
    """Return the algorithm with its defaults but for `parameters`.

    Raises InvalidArgument (FIELD_INVALID) for a kind, a name or a value that it does not take.
    """
    if kind not in ALGORITHMS:
        raise invalid("kind", f"must be one of {', '.join(sorted(ALGORITHMS))}, not {kind!r}")
    fields_of: Any = ALGORITHMS[kind]
    known = {each.name: each.type for each in fields(fields_of)}
    for name in parameters:
        if name not in known:
            raise invalid(f"parameters[{name}]", f"is no parameter of {kind}; it has {', '.join(known)}")
    return ALGORITHMS[kind](**{name: _typed(name, known[name], parameters[name]) for name in parameters})


def restore(kind: str, config: Config, arrays: Arrays) -> Model:
    """Return the model that a version stores; raises KeyError, ValueError where something is missing."""
    return _RESTORERS[kind](config, arrays)


def _typed(name: str, kind: Any, value: float) -> float:
    """Return a whole number where one is wanted: a request's parameters are all floating-point numbers."""
    if kind != "int":
        return value
    if value != int(value) or abs(value) > 1 << 31:
        raise invalid(f"parameters[{name}]", f"must be a whole number, not {value:g}")
    return int(value)
