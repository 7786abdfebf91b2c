"""A job: what one training process is told, as the JSON file that its command line names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from services.recommender.entities import Preference
from services.recommender.models.kinds import algorithm
from services.recommender.models.recipe import DEFAULT, Recipe

STANDING_BY = ("content", "biased_mf")
"""What is trained for new items and for values, and speaks in a blend only where nothing else does."""


@dataclass(frozen=True)
class Job:
    """A training, or an evaluation. Paths and names were checked by who asks."""

    task: Literal["train", "evaluate"]
    database: str
    """A URL that the store opens."""
    preferences: Mapping[str, Preference]
    algorithms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Parameters by kind; empty: the default recipe."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """In the blend, by kind; empty: all count alike, or as in the default recipe."""
    value_types: tuple[str, ...] = ("rating",)
    """Event types whose values are ratings."""
    since: float = 0.0
    """Only events from this time on, Unix seconds; 0: all."""
    folder: str = ""
    """Of a training: where its version is to appear."""
    protocols: tuple[str, ...] = ()
    """What to measure, for a training before it trains on everything."""
    seeds: tuple[int, ...] = (1,)
    k: int = 10

    def recipe(self) -> Recipe:
        """Return what to train; raises InvalidArgument for an algorithm that cannot be."""
        if not self.algorithms:
            return DEFAULT
        chosen = tuple(algorithm(kind, parameters) for kind, parameters in self.algorithms.items())
        known = {name: weight for name, weight in self.weights.items() if name in self.algorithms}
        return Recipe(chosen, known or self._usual_weights())

    def _usual_weights(self) -> dict[str, float]:
        """Return the default recipe's weights, which mean something together only; others count alike."""
        speaking = [name for name in self.algorithms if name not in STANDING_BY] or list(self.algorithms)
        usual = {name: weight for name, weight in DEFAULT.weights.items() if name in speaking}
        return usual if len(usual) == len(speaking) else dict.fromkeys(speaking, 1.0)


def write_job(job: Job, path: Path) -> None:
    """Write the file that `python -m services.recommender.training PATH` reads."""
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")


def read_job(path: Path) -> Job:
    """Return the job of a file that `write_job` wrote."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    preferences = {name: Preference(**fields) for name, fields in document.pop("preferences").items()}
    for name in ("value_types", "protocols", "seeds"):
        document[name] = tuple(document[name])
    return Job(preferences=preferences, **document)
