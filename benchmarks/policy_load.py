"""Callers of the policy service: acts one by one in closed loops, and rollouts of many environments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trunkline.policy.v1 import (
    algorithms_pb2,
    episodes_pb2,
    policies_pb2,
    rollout_pb2,
    spaces_pb2,
    training_pb2,
)
from trunkline.policy.v1 import values_pb2 as values
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from benchmarks.figures import percentile

WIDTH, CHOICES = 4, 2
_SEEN = np.random.default_rng(17).uniform(-1, 1, (4_096, WIDTH)).astype(np.float32)


@dataclass(frozen=True)
class Acts:
    """What a crowd of callers got."""

    rate: float
    """Answers a second."""
    waits_ms: Sequence[float]

    @property
    def middle_ms(self) -> float:
        """Half of the answers took at most this."""
        return percentile(self.waits_ms, 0.5)

    @property
    def late_ms(self) -> float:
        """99 of 100 answers took at most this."""
        return percentile(self.waits_ms, 0.99)


async def create(stub: PolicyServiceStub, name: str, algorithm: algorithms_pb2.Algorithm) -> None:
    """Create a policy for what CartPole-v1 shows and takes."""
    box = spaces_pb2.BoxSpace(shape=[WIDTH])
    environment = spaces_pb2.Environment(
        name="CartPole-v1",
        observation_space=spaces_pb2.Space(box=box),
        action_space=spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=CHOICES)),
    )
    request = policies_pb2.CreatePolicyRequest(name=name, environment=environment, algorithm=algorithm)
    await stub.CreatePolicy(request, timeout=120)


async def act(stub: PolicyServiceStub, policy: str, callers: int, seconds: float) -> Acts:
    """Let each caller play a live episode of its own, the next act when the last was answered."""
    start = episodes_pb2.StartEpisodeRequest(policy=policy, stage=episodes_pb2.EPISODE_STAGE_LIVE)
    episodes = await asyncio.gather(*(stub.StartEpisode(start) for _ in range(callers)))
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def play(number: int, at: int) -> None:
        step = 0
        while (began := time.perf_counter()) < until:
            seen = values.Value(numbers=values.Numbers(values=_SEEN[(at + step) % len(_SEEN)]))
            request = episodes_pb2.ActRequest(episode_id=number, step=step, observation=seen)
            await stub.Act(request, timeout=60)
            waits.append(1e3 * (time.perf_counter() - began))
            step += 1

    began = time.perf_counter()
    await asyncio.gather(*(play(each.episode_id, 64 * at) for at, each in enumerate(episodes)))
    return Acts(len(waits) / (time.perf_counter() - began), waits)


async def ask(channel: grpc.aio.Channel, callers: int, seconds: float) -> Acts:
    """Ask the same server how it is, in closed loops: what an rpc costs before anything is decided."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < until:
            await check(HealthCheckRequest(), timeout=60)
            waits.append(1e3 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return Acts(len(waits) / (time.perf_counter() - began), waits)


async def roll(stub: PolicyServiceStub, policy: str, environments: int, messages: int) -> Acts:
    """Send `messages` steps of so many environments, each when the last was answered; rates are of actions.

    An episode ends after 200 steps. The rollout is over when everything is kept.
    """
    call = stub.Rollout()
    start = rollout_pb2.RolloutStart(policy=policy, environments=environments)
    await call.write(rollout_pb2.RolloutRequest(start=start))
    await call.read()
    waits = []
    began = time.perf_counter()
    for number in range(messages):
        asked = time.perf_counter()
        await call.write(rollout_pb2.RolloutRequest(step=_step(number, environments)))
        await call.read()
        waits.append(1e3 * (time.perf_counter() - asked))
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass
    return Acts(messages * environments / (time.perf_counter() - began), waits)


async def train(stub: PolicyServiceStub, policy: str) -> None:
    """Let a policy's learner learn from all that it has."""
    await stub.StartTraining(training_pb2.StartTrainingRequest(policy=policy), timeout=120)


async def learned(stub: PolicyServiceStub, policy: str) -> int:
    """Return how many updates it has made."""
    answer = await stub.GetTraining(training_pb2.GetTrainingRequest(policy=policy), timeout=60)
    return int(answer.status.updates)


def _step(number: int, environments: int) -> rollout_pb2.RolloutStep:
    first = (number * environments) % (len(_SEEN) - environments + 1)
    rows = _SEEN[first : first + environments]
    step = rollout_pb2.RolloutStep(observations=_tensor(rows))
    if number:
        step.rewards.extend([1.0] * environments)
        if number % 200 == 0:
            step.truncated.extend([True] * environments)
            step.final_observations.CopyFrom(_tensor(rows))
    return step


def _tensor(rows: np.ndarray) -> values.Tensor:
    return values.Tensor(data_type=values.DATA_TYPE_FLOAT32, shape=rows.shape, data=rows.tobytes())


async def connected(address: str) -> AsyncIterator[tuple[grpc.aio.Channel, PolicyServiceStub]]:
    """Yield a channel and a stub once their server answers."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = PolicyServiceStub(channel)
        await stub.ListPolicies(policies_pb2.ListPoliciesRequest(), wait_for_ready=True, timeout=120)
        yield channel, stub
