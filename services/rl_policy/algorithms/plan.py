"""What is to be learned: an algorithm by name, its options, the spaces, the discount and the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from math import inf, isfinite
from types import MappingProxyType
from typing import Any, get_type_hints

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Learner
from services.rl_policy.algorithms.options import (
    ActorCriticOptions,
    BanditOptions,
    CloningOptions,
    DqnOptions,
    Options,
    PpoOptions,
    TabularOptions,
)
from services.rl_policy.algorithms.schedules import Schedule
from services.rl_policy.spaces import Box, Dict, Discrete, MultiDiscrete, Space

ALGORITHMS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "q_learning": TabularOptions,
        "sarsa": TabularOptions,
        "expected_sarsa": TabularOptions,
        "double_q": TabularOptions,
        "dqn": DqnOptions,
        "reinforce": ActorCriticOptions,
        "a2c": ActorCriticOptions,
        "ppo": PpoOptions,
        "linucb": BanditOptions,
        "thompson": BanditOptions,
        "squarecb": BanditOptions,
        "behaviour_cloning": CloningOptions,
    }
)
"""The options of each algorithm; its module has the same name and makes its Learner with `learner(plan)`."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a learner does with a log."""

    algorithm: str
    observation: Space
    action: Space
    options: Options
    discount: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise invalid("algorithm", f"must be one of {', '.join(ALGORITHMS)}, not {self.algorithm[:63]!r}")
        if not isinstance(self.options, ALGORITHMS[self.algorithm]):
            raise invalid("hyperparameters", f"must be those of {self.algorithm}")
        if not (isfinite(self.discount) and 0 <= self.discount <= 1):
            raise invalid("discount", f"must be from 0 to 1, not {self.discount}")
        if not 0 <= self.seed < 2**63:
            raise invalid("seed", "must be from 0 to 2**63 - 1")

    def learner(self) -> Learner:
        """Return a new learner; raises InvalidArgument where the algorithm cannot learn in these spaces."""
        module = import_module(f"services.rl_policy.algorithms.{self.algorithm}")
        made: Learner = module.learner(self)
        return made

    def document(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {
            "algorithm": self.algorithm,
            "observation": space_document(self.observation),
            "action": space_document(self.action),
            "options": asdict(self.options),
            "discount": self.discount,
            "seed": self.seed,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Return the plan that `document` made."""
        algorithm = document["algorithm"]
        return cls(
            algorithm,
            space_of(document["observation"]),
            space_of(document["action"]),
            options_of(algorithm, document["options"]),
            document["discount"],
            document["seed"],
        )


def options_of(algorithm: str, values: Mapping[str, Any]) -> Options:
    """Return an algorithm's options from numbers, lists and schedules by name; what is missing is default.

    A schedule is a number, or a mapping with start, end and steps.
    """
    kind = ALGORITHMS[algorithm]
    known = {each.name for each in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise invalid(f"hyperparameters.{unknown[0][:63]}", f"is none of {algorithm}")
    hints = get_type_hints(kind)
    made: Options = kind(**{name: _value(hints[name], value) for name, value in values.items()})
    return made


def _value(hint: Any, value: Any) -> Any:
    if hint is Schedule:
        return Schedule(**value) if isinstance(value, Mapping) else Schedule(value)
    return tuple(value) if isinstance(value, list) else value


def space_document(space: Space) -> dict[str, Any]:
    """Return a space as JSON can say it; a bound that is infinite is null."""
    if isinstance(space, Dict):
        return {"dict": [[name, space_document(each)] for name, each in space.spaces]}
    document = {name: list(part) if isinstance(part, tuple) else part for name, part in asdict(space).items()}
    for bound in {"low", "high"} & set(document):
        document[bound] = [each if isfinite(each) else None for each in document[bound]]
    return {{Discrete: "discrete", MultiDiscrete: "multi_discrete", Box: "box"}[type(space)]: document}


def space_of(document: Mapping[str, Any]) -> Space:
    """Return the space that `document` made."""
    (kind, parts), *_ = document.items()
    if kind == "dict":
        return Dict(tuple((name, space_of(each)) for name, each in parts))
    if kind == "discrete":
        return Discrete(**parts)
    if kind == "multi_discrete":
        return MultiDiscrete(tuple(parts["nvec"]))
    low = tuple(-inf if each is None else each for each in parts["low"])
    high = tuple(inf if each is None else each for each in parts["high"])
    return Box(tuple(parts["shape"]), low, high, parts["dtype"])
