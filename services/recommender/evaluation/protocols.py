"""Protocols by name: how interactions are divided, again for each seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.kit.errors import invalid
from services.recommender.entities import Interactions
from services.recommender.evaluation import splits
from services.recommender.evaluation.splits import Split

DEFAULT_PROTOCOL = "random-75-25"
_FORMS = "random-75-25, temporal-80-20, leave-last-out, strong-80-20 or ratings-5-fold"
_SHARES: Mapping[str, Callable[[Interactions, float, int], Split]] = {
    "random": splits.random,
    "temporal": lambda interactions, share, _seed: splits.temporal(interactions, share),
    "strong": splits.strong,
}


@dataclass(frozen=True)
class RankingProtocol:
    """Lists are judged by what they find of what was held back."""

    name: str
    split: Callable[[Interactions, int], Split]


@dataclass(frozen=True)
class RatingProtocol:
    """Values are predicted, fold by fold."""

    name: str
    folds: int


def protocol(name: str) -> RankingProtocol | RatingProtocol:
    """Return the protocol of that name; raises InvalidArgument (FIELD_INVALID)."""
    name = name or DEFAULT_PROTOCOL
    if name == "leave-last-out":
        return RankingProtocol(name, lambda interactions, _seed: splits.leave_last_out(interactions))
    if matched := re.fullmatch(r"ratings-([0-9]{1,2})-fold", name):
        if int(matched[1]) < 2:
            raise invalid("protocol", f"must have at least two folds, not {name!r}")
        return RatingProtocol(name, int(matched[1]))
    matched = re.fullmatch(r"(random|temporal|strong)-([0-9]{1,2})-([0-9]{1,2})", name)
    if not matched or int(matched[2]) + int(matched[3]) != 100 or int(matched[3]) == 0:
        raise invalid("protocol", f"must be like {_FORMS}, its shares adding up to 100, not {name!r}")
    divide, share = _SHARES[matched[1]], int(matched[3]) / 100
    return RankingProtocol(name, lambda interactions, seed: divide(interactions, share, seed))
