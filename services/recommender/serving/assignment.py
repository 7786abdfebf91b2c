"""Experiments: who gets which variant, by a hash alone: every replica says the same, nothing is stored."""

from __future__ import annotations

from hashlib import blake2b
from itertools import accumulate

from services.kit.errors import invalid
from services.recommender.store.experiments import Experiment, Variant

MAX_VARIANTS = 16


def assign(experiment: Experiment, unit_id: str) -> Variant:
    """Return the variant of a user or session: the unit's place in [0, 1) among the summed weights."""
    edges = list(accumulate(each.weight for each in experiment.variants))
    place = fraction(experiment.salt or experiment.name, unit_id) * edges[-1]
    for variant, edge in zip(experiment.variants, edges, strict=True):
        if place < edge:
            return variant
    return experiment.variants[-1]


def fraction(salt: str, unit_id: str) -> float:
    """Return a number in [0, 1) that is uniform over units and independent between salts."""
    digest = blake2b(unit_id.encode(), key=blake2b(salt.encode()).digest(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


def check(experiment: Experiment) -> None:
    """Raise InvalidArgument where an experiment cannot be run."""
    variants = experiment.variants
    if not 2 <= len(variants) <= MAX_VARIANTS:
        raise invalid("variants", f"must be 2 to {MAX_VARIANTS}, not {len(variants)}")
    if len({each.name for each in variants}) < len(variants):
        raise invalid("variants", "must have different names")
    for place, each in enumerate(variants):
        if not 0 <= each.weight < 1e9:
            raise invalid(f"variants[{place}].weight", f"must be from 0 to a billion, not {each.weight:g}")
    if not any(each.weight for each in variants):
        raise invalid("variants", "must have a weight above 0")
