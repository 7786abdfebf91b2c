"""Rollouts: k environments over one stream; and learning that is the same here and there, bit for bit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import gymnasium
import numpy as np
import pytest
from trunkline.policy.v1 import (
    algorithms_pb2,
    episodes_pb2,
    policies_pb2,
    rollout_pb2,
    training_pb2,
    versions_pb2,
)
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.kit.errors import Reason
from services.rl_policy import gymnasium_spaces, spaces
from services.rl_policy.learner.lockstep import Frame, Lockstep
from services.rl_policy.remote import RemotePlayer, environment_of
from services.rl_policy.spaces import Floats
from services.rl_policy.specification_messages import decode_specification
from tests.contract.rl_policy.serving import POLICY, Serving, corridor, places, refused, serving


class Messages:
    """A stream of requests that a test writes by hand."""

    def __init__(self, stub: Any, start: rollout_pb2.RolloutStart) -> None:
        self._call = stub.Rollout()
        self._start = start

    async def start(self) -> rollout_pb2.RolloutStarted:
        await self._call.write(rollout_pb2.RolloutRequest(start=self._start))
        return (await self._call.read()).started

    async def step(self, **step: Any) -> rollout_pb2.RolloutActions:
        await self._call.write(rollout_pb2.RolloutRequest(step=rollout_pb2.RolloutStep(**step)))
        answer = await self._call.read()
        if answer is grpc.aio.EOF:
            await self._call  # raises why
        return answer.actions

    async def end(self) -> None:
        await self._call.done_writing()
        assert await self._call.read() is grpc.aio.EOF


async def test_what_a_rollout_says_becomes_the_log(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        messages = Messages(it.stub, rollout_pb2.RolloutStart(policy=POLICY, environments=2))
        assert (await messages.start()).policy_version == 1
        first = await messages.step(observations=places([0, 0]))
        assert len(first.decision_ids) == 2
        await messages.step(
            observations=places([1, 0]),
            rewards=[0.5, 1.0],
            terminated=[False, True],
            final_observations=places([5]),
        )
        await messages.step(observations=places([2, 1]), rewards=[0.25, 0.0])
        await messages.end()
        kept = it.parts.store.log.range(POLICY, 0, 10)
        assert kept.step.tolist() == [0, 0, 1, 0]
        assert kept.reward.tolist() == [0.5, 1.0, 0.25, 0.0]
        assert kept.terminated.tolist() == [False, True, False, False]
        assert kept.next_observation[:, 0].tolist() == [1, 5, 2, 1]
        assert len(set(kept.episode.tolist())) == 3
        assert kept.decision_id[:2].tolist() == list(first.decision_ids)
        cut = await it.stub.GetEpisode(episodes_pb2.GetEpisodeRequest(episode_id=int(kept.episode[0])))
        assert cut.episode.state == episodes_pb2.EPISODE_STATE_TRUNCATED
        assert cut.episode.total_reward == 0.75


async def test_the_durable_steps_run_behind_and_catch_up(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        messages = Messages(it.stub, rollout_pb2.RolloutStart(policy=POLICY, environments=1))
        await messages.start()
        answer = await messages.step(observations=places([0]))
        steps = 0
        async with asyncio.timeout(60):
            while answer.durable_steps < 1:
                answer = await messages.step(observations=places([1]), rewards=[0.0])
                steps += 1
        assert it.parts.store.log.bounds(POLICY)[1] >= answer.durable_steps
        await messages.end()
        assert it.parts.store.log.bounds(POLICY) == (0, steps)


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"observations": places([0])}, "step.observations"),
        ({"observations": places([0, 9])}, "step.observations"),
        ({"observations": places([0, 0]), "rewards": [1.0, 1.0]}, "step.rewards"),
        ({"observations": places([0, 0]), "action_masks": b"\0\0\1\1"}, "step.action_masks"),
        ({"observations": places([0, 0]), "action_masks": b"\2\0\1\1"}, "step.action_masks"),
    ],
)
async def test_a_wrong_step_is_refused(tmp_path: Path, step: dict[str, Any], field: str):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        messages = Messages(it.stub, rollout_pb2.RolloutStart(policy=POLICY, environments=2))
        await messages.start()
        error = await refused(messages.step(**step))
        assert [each.field for each in error.violations] == [field]


async def test_lock_step_is_for_one_rollout_with_a_training(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        start = rollout_pb2.RolloutStart(policy=POLICY, environments=1, lock_step=True)

        async def begin() -> Messages:
            messages = Messages(it.stub, start)
            await messages.start()
            return messages

        async def fails() -> None:
            call = it.stub.Rollout()
            await call.write(rollout_pb2.RolloutRequest(start=start))
            await call.read()
            await call

        assert (await refused(fails())).reason == Reason.TRAINING_STATE
        await it.stub.StartTraining(training_pb2.StartTrainingRequest(policy=POLICY))
        first = await begin()
        assert (await refused(fails())).reason == Reason.TRAINING_STATE
        await first.end()
        await (await begin()).end()


class Local:
    """A gymnasium environment as the learner's own loop plays it."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._observation = gymnasium_spaces.of(made.observation_space)
        self._action = gymnasium_spaces.of(made.action_space)
        self._mask = np.ones(spaces.mask_size(self._action), np.bool_)

    def reset(self, seed: int | None) -> Frame:
        observation, _ = self._made.reset(seed=seed)
        return Frame(gymnasium_spaces.row(self._observation, observation), self._mask)

    def step(self, action: Floats) -> Frame:
        observation, reward, terminated, truncated, _ = self._made.step(
            gymnasium_spaces.value(self._action, action)
        )
        row = gymnasium_spaces.row(self._observation, observation)
        return Frame(row, self._mask, float(reward), bool(terminated), bool(truncated))


def made(environment_id: str, count: int) -> list[Any]:
    return [gymnasium.make(environment_id) for _ in range(count)]


def play(address: str, environments: Sequence[Any], steps: int) -> list[float]:
    with grpc.insecure_channel(address) as channel:
        stub = PolicyServiceStub(channel)
        with RemotePlayer(stub, POLICY, environments, seed=3, lock_step=True) as player:
            player.play(steps)
        return player.played.returns


CASES = {
    "q_learning": ("FrozenLake-v1", 2, 300, {"q_learning": algorithms_pb2.TabularParameters()}),
    "dqn": (
        "CartPole-v1",
        1,
        400,
        {
            "dqn": algorithms_pb2.DqnParameters(
                learning_starts=100, train_interval=50, gradient_steps=5, hidden=[16], dueling=True
            )
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_same_seed_learns_the_same_here_and_there_bit_for_bit(tmp_path: Path, case: str):
    environment_id, count, steps, algorithm = CASES[case]
    request = policies_pb2.CreatePolicyRequest(
        name=POLICY,
        environment=environment_of(gymnasium.make(environment_id)),
        algorithm=algorithms_pb2.Algorithm(**algorithm),
        seed=5,
    )
    learner = decode_specification(request).plan.learner()
    here = Lockstep(learner, [Local(each) for each in made(environment_id, count)], seed=3)
    here.play(steps)
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(request)
        await it.stub.StartTraining(training_pb2.StartTrainingRequest(policy=POLICY))
        there = await asyncio.to_thread(play, it.address, made(environment_id, count), steps)
        await it.stub.StopTraining(training_pb2.StopTrainingRequest(policy=POLICY))
        weights = await newest_weights(it)
    assert there == [earned for _, earned in here.returns]
    for name, each in learner.policy().weights().items():
        assert np.array_equal(weights[name], each), name


async def newest_weights(it: Serving) -> Any:
    version = (await it.stub.GetVersion(versions_pb2.GetVersionRequest(policy=POLICY))).version
    return it.parts.store.versions.weights(POLICY, version.number)
