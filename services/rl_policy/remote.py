"""A gymnasium environment against the service: the caller's side of a rollout, and of greedy episodes.

Needs gymnasium and numpy. One `RemotePlayer` is one rollout: k environments, stepped here, acted for there.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from trunkline.policy.v1 import episodes_pb2, rollout_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from trunkline.policy.v1.spaces_pb2 import Environment

from services.rl_policy import gymnasium_spaces, spaces
from services.rl_policy.algorithms.algorithm import Bools, Floats
from services.rl_policy.specification_messages import encode_space
from services.rl_policy.value_messages import decode_rows, encode_rows


def environment_of(environment: Any, name: str = "") -> Environment:
    """Return what CreatePolicy wants to know of a gymnasium environment; raises InvalidArgument."""
    return Environment(
        name=name,
        observation_space=encode_space(gymnasium_spaces.of(environment.observation_space)),
        action_space=encode_space(gymnasium_spaces.of(environment.action_space)),
    )


@dataclass
class Played:
    """What was played so far."""

    steps: int = 0
    durable_steps: int = 0
    policy_version: int = 0
    returns: list[float] = field(default_factory=list)
    """Of each episode that ended, in order."""
    by_environment: list[list[float]] = field(default_factory=list)
    """The same, apart."""


class RemotePlayer:
    """Plays environments by a policy of the service. Use as a context manager: leaving it ends the rollout.

    Environment i is reset with `seed` + i first, and goes on with its own generator. `masks`: whether
    environments say in `info["action_mask"]` which actions are allowed. Raises grpc.RpcError.
    """

    def __init__(
        self,
        stub: PolicyServiceStub,
        policy: str,
        environments: Sequence[Any],
        *,
        seed: int = 0,
        stage: int = episodes_pb2.EPISODE_STAGE_TRAINING,
        lock_step: bool = False,
        masks: bool = False,
        pinned_version: int | None = None,
    ) -> None:
        self.played = Played(by_environment=[[] for _ in environments])
        self._environments = environments
        self._observation = gymnasium_spaces.of(environments[0].observation_space)
        self._action = gymnasium_spaces.of(environments[0].action_space)
        self._masks = masks
        self._totals = np.zeros(len(environments))
        self._requests: queue.SimpleQueue[rollout_pb2.RolloutRequest | None] = queue.SimpleQueue()
        self._answers = stub.Rollout(iter(self._requests.get, None))
        start = rollout_pb2.RolloutStart(
            policy=policy,
            environments=len(environments),
            stage=stage,  # type: ignore[arg-type]  # an enum's number
            seed=seed,
            lock_step=lock_step,
            pinned_version=pinned_version,
        )
        self._requests.put(rollout_pb2.RolloutRequest(start=start))
        self.played.policy_version = next(self._answers).started.policy_version
        self._moves = self._send(self._first(seed))

    def play(self, steps: int) -> None:
        """Take at least `steps` further steps, all environments together."""
        until = self.played.steps + steps
        while self.played.steps < until:
            self._moves = self._send(self._step())
            self.played.steps += len(self._environments)

    def play_episodes(self, each: int) -> list[float]:
        """Play until every environment has ended `each` episodes; return their returns.

        As many of each, whatever their length: the first to end of all would be the short ones.
        """
        while any(len(done) < each for done in self.played.by_environment):
            self.play(1)
        return [earned for done in self.played.by_environment for earned in done[:each]]

    def close(self) -> None:
        """End the rollout; return when everything is kept."""
        self._requests.put(None)
        for _ in self._answers:
            pass

    def _first(self, seed: int) -> rollout_pb2.RolloutStep:
        resets = [each.reset(seed=seed + index) for index, each in enumerate(self._environments)]
        step = rollout_pb2.RolloutStep(observations=self._tensor([each[0] for each in resets]))
        step.action_masks = self._mask_bytes([each[1] for each in resets])
        return step

    def _step(self) -> rollout_pb2.RolloutStep:
        """Step every environment, and reset those that ended."""
        outcomes = [
            environment.step(gymnasium_spaces.value(self._action, action))
            for environment, action in zip(self._environments, self._moves, strict=True)
        ]
        seen, infos = [each[0] for each in outcomes], [each[4] for each in outcomes]
        rewards = [float(each[1]) for each in outcomes]
        self._totals += rewards
        terminated, truncated = [bool(each[2]) for each in outcomes], [bool(each[3]) for each in outcomes]
        step = rollout_pb2.RolloutStep(rewards=rewards)
        ended = [index for index, each in enumerate(outcomes) if each[2] or each[3]]
        if ended:
            step.terminated.extend(terminated)
            step.truncated.extend(truncated)
            step.final_observations.CopyFrom(self._tensor([seen[index] for index in ended]))
        for index in ended:
            self.played.returns.append(float(self._totals[index]))
            self.played.by_environment[index].append(float(self._totals[index]))
            self._totals[index] = 0.0
            seen[index], infos[index] = self._environments[index].reset()
        step.observations.CopyFrom(self._tensor(seen))
        step.action_masks = self._mask_bytes(infos)
        return step

    def _send(self, step: rollout_pb2.RolloutStep) -> Floats:
        self._requests.put(rollout_pb2.RolloutRequest(step=step))
        actions = next(self._answers).actions
        self.played.durable_steps = actions.durable_steps
        self.played.policy_version = actions.policy_versions[-1]
        return decode_rows(actions.actions, self._action, len(self._environments), "actions")

    def _tensor(self, observations: Sequence[Any]) -> Any:
        rows = [gymnasium_spaces.row(self._observation, each) for each in observations]
        return encode_rows(self._observation, np.stack(rows))

    def _mask_bytes(self, infos: Sequence[Any]) -> bytes:
        if not self._masks:
            return b""
        size = spaces.mask_size(self._action)
        masks: list[Bools] = [
            np.asarray(info["action_mask"], np.bool_).reshape(-1)
            if "action_mask" in info
            else np.ones(size, np.bool_)
            for info in infos
        ]
        return np.stack(masks).astype(np.uint8).tobytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif isinstance(self._answers, grpc.RpcContext):
            self._requests.put(None)
            self._answers.cancel()
