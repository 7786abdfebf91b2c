"""What every algorithm of this service is: a Learner that reads transitions and makes Policies that act.

Shapes, for B rows: observations (B, size) and actions (B, width) are compact rows of their spaces
(`spaces.compact`, float32, a Discrete counted from 0); what a network needs it expands itself.
Masks are (B, choices), `choices = spaces.mask_size(action space)`: n for Discrete(n), the sum of nvec for
MultiDiscrete, 0 for Box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any]

State: TypeAlias = Mapping[str, Array]
"""What a checkpoint keeps of a learner: arrays by name, as safetensors hold them."""


class Mode(StrEnum):
    """How an action is chosen."""

    EXPLORE = "explore"
    """Drawn from the policy's distribution, which is what learns."""
    GREEDY = "greedy"
    """The best that the policy knows; a tie goes to the lowest index."""


@dataclass(frozen=True)
class Actions:
    """What a policy chose for B rows."""

    actions: Floats
    """(B, width): compact rows of the action space."""
    propensities: Doubles
    """(B,): the probability with which this action was chosen in this mode; for Box its density."""
    values: Doubles
    """(B,): the return that the policy expects from here, NaN where it estimates none."""

    def __len__(self) -> int:
        return len(self.propensities)


@dataclass(frozen=True)
class Transitions:
    """B steps in the order of the log: one row each, in columns."""

    episode: Ints
    """(B,): the store's number of the episode."""
    step: Ints
    """(B,): the step within the episode, from 0."""
    observation: Floats
    action: Floats
    propensity: Doubles
    """(B,): the behaviour policy's; NaN where it is unknown."""
    reward: Doubles
    next_observation: Floats
    terminated: Bools
    """(B,): the environment has ended here, so that nothing follows that a return could count."""
    truncated: Bools
    """(B,): the episode was cut here, by a limit of time say; the return goes on from next_observation."""
    mask: Bools
    next_mask: Bools
    decision_id: Ints
    """(B,): the store's number of the decision, by which rewards are joined."""
    policy_version: Ints
    """(B,): the version that acted; 0 where it was not one of ours."""

    def __post_init__(self) -> None:
        sizes = {each.name: len(getattr(self, each.name)) for each in fields(self)}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"columns of different lengths: {sizes}")

    def __len__(self) -> int:
        return len(self.episode)

    def __getitem__(self, rows: slice | Ints | Bools) -> Transitions:
        return Transitions(**{name: column[rows] for name, column in self.columns()})

    def columns(self) -> Iterator[tuple[str, Array]]:
        """Yield each column with its name, in the order of the fields."""
        for each in fields(self):
            yield each.name, getattr(self, each.name)


def joined(parts: Sequence[Transitions]) -> Transitions:
    """Return the parts, at least one, as one."""
    names = [each.name for each in fields(Transitions)]
    return Transitions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class Report:
    """What one update did."""

    step: int
    """How many transitions had been observed."""
    update: int
    """Which update of this learner it was, from 1."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """loss, epsilon, entropy, kl and the like, by name."""
    publishes: bool = False
    """Whether the policy has changed enough to be published as a new version."""


class Policy(Protocol):
    """What acts: the immutable weights of one version. Needs numpy alone.

    A row gets the same bits alone, at any place and in any batch. An action that its mask forbids is never
    chosen; who calls sees to it that each row allows at least one.
    """

    @property
    def draws(self) -> int:
        """How many uniform numbers `act` takes for each row."""

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        """Choose an action for each row. `uniforms` (B, draws), each from [0, 1), is all its randomness."""

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        """Return (B, choices) probabilities of each discrete action; 0 where the mask forbids.

        For MultiDiscrete the components stand side by side and each sums to 1. (B, 0) for Box.
        """

    def weights(self) -> Mapping[str, Array]:
        """Return what `policies.load` makes the same policy of."""


class Learner(Protocol):
    """What learns, in the learner's process. Deterministic: the same log and seed give the same bits."""

    @property
    def memory(self) -> int:
        """How many of the last transitions observed `remember` needs after `restore`."""

    def observe(self, batch: Transitions) -> None:
        """Take in what comes next in the log."""

    def learn(self) -> Report | None:
        """Make one update if the schedule says that one is due. Raises Diverged where it failed."""

    def policy(self) -> Policy:
        """Return what acts now."""

    def state(self) -> State:
        """Return what `restore` needs besides the last `memory` transitions."""

    def restore(self, state: State) -> None:
        """Become the learner that `state` was taken from; `remember` follows."""

    def remember(self, batch: Transitions) -> None:
        """Take back what was observed before the checkpoint, in the order of the log; nothing is learned."""


class Diverged(Exception):  # noqa: N818 - says what happened
    """Learning has failed: a number that is not finite. The last policy published stays good."""
