"""A choice elsewhere in the mesh as a bandit of this service: it learns what pays, and may be away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from trunkline.policy.v1 import algorithms_pb2, policies_pb2, spaces_pb2, training_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.kit.bandit import PolicyBandit
from tests.contract.rl_policy.policy_process import PolicyProcess, policy_process
from tests.eventually import eventually
from tests.free_ports import free_ports

OPTIONS = 4
ALLOWED = [False, True, True]
BEST = 2
PATIENT = 60.0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyProcess]:
    folder: Path = tmp_path_factory.mktemp("bandit")
    with policy_process(f"sqlite:///{folder}/policies.db", folder / "log") as running:
        yield running


@pytest_asyncio.fixture
async def channel(process: PolicyProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(process.address) as opened:
        yield opened


async def _create(channel: grpc.aio.Channel, name: str) -> None:
    environment = spaces_pb2.Environment(
        name="slot",
        observation_space=spaces_pb2.Space(box=spaces_pb2.BoxSpace(shape=[1])),
        action_space=spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=OPTIONS)),
    )
    algorithm = algorithms_pb2.Algorithm(linucb=algorithms_pb2.BanditParameters(exploration=0.1))
    stub = PolicyServiceStub(channel)
    request = policies_pb2.CreatePolicyRequest(name=name, environment=environment, algorithm=algorithm)
    await stub.CreatePolicy(request, timeout=PATIENT)
    await stub.StartTraining(
        training_pb2.StartTrainingRequest(policy=name, learn_from_live=True), timeout=PATIENT
    )


async def test_a_slot_comes_to_choose_what_pays(channel: grpc.aio.Channel):
    await _create(channel, "slot")
    bandit = PolicyBandit(channel, "slot", PATIENT)
    best = 0

    async def chooses_the_best() -> bool:
        """Return whether it did ten times in a row."""
        nonlocal best
        choice = await bandit.choose([1.0], ALLOWED)
        assert choice is not None
        assert ALLOWED[choice.option]
        assert 0 < choice.propensity <= 1
        bandit.reward(choice, 1.0 if choice.option == BEST else 0.0)
        await bandit.settled()
        best = best + 1 if choice.option == BEST else 0
        return best >= 10

    await eventually(chooses_the_best, within=120)


async def test_a_policy_that_is_not_there_or_does_not_fit_chooses_nothing(channel: grpc.aio.Channel):
    await _create(channel, "small")

    assert await PolicyBandit(channel, "nobody", PATIENT).choose([1.0], ALLOWED) is None
    assert await PolicyBandit(channel, "small", PATIENT).choose([1.0, 2.0], ALLOWED) is None
    assert await PolicyBandit(channel, "small", PATIENT).choose([1.0], [True] * 9) is None


async def test_a_service_that_does_not_answer_chooses_nothing_and_loses_rewards_quietly():
    async with grpc.aio.insecure_channel(f"127.0.0.1:{free_ports(1)[0]}") as channel:
        bandit = PolicyBandit(channel, "slot", 0.05)

        assert await bandit.choose([1.0], ALLOWED) is None
