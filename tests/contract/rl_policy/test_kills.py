"""`kill -9` of the service and of its learner: what was acknowledged is kept, and learning goes on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from trunkline.policy.v1 import (
    algorithms_pb2,
    episodes_pb2,
    policies_pb2,
    spaces_pb2,
    training_pb2,
    values_pb2,
)
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.rl_policy.store.records import Cursor
from services.rl_policy.store.store import LearnersStore
from tests.contract.rl_policy.policy_process import PolicyProcess, policy_process

POLICY = "corridor"
LENGTH = 6
WITHIN = 300.0
GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
"""What a player hears whose server is gone, or is new and knows nothing of this step: it begins anew."""


class Player:
    """Walks a corridor, one call a step, and remembers what was acknowledged.

    Every reward is another number, so that a transition which was lost, doubled or changed is found.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self.stub = PolicyServiceStub(self._channel)
        self._rewards = itertools.count(1)
        self._walk = self._walking()
        self.acknowledged: dict[int, float] = {}
        """The reward of each decision whose outcome was acknowledged."""

    def play(self, steps: int) -> None:
        """Go on until so many further steps were acknowledged."""
        until = len(self.acknowledged) + steps
        while len(self.acknowledged) < until:
            try:
                next(self._walk)
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    raise
                self._walk = self._walking()

    def _walking(self) -> Iterator[None]:
        while True:
            yield from self._episode()

    def _episode(self) -> Iterator[None]:
        request = episodes_pb2.StartEpisodeRequest(policy=POLICY)
        number = self.stub.StartEpisode(request, timeout=60, wait_for_ready=True).episode_id
        place = 0
        for step in itertools.count():
            act = episodes_pb2.ActRequest(
                episode_id=number, step=step, observation=values_pb2.Value(integer=place)
            )
            answer = self.stub.Act(act, timeout=60)
            place = max(0, place + (1 if answer.action.integer else -1))
            reward = float(next(self._rewards))
            ended = place == LENGTH - 1
            self.stub.Observe(
                episodes_pb2.ObserveRequest(
                    episode_id=number,
                    step=step,
                    reward=reward,
                    next_observation=values_pb2.Value(integer=place),
                    terminated=ended,
                ),
                timeout=60,
            )
            self.acknowledged[answer.decision_id] = reward
            yield
            if ended:
                return


def _create(player: Player) -> None:
    environment = spaces_pb2.Environment(
        name="corridor",
        observation_space=spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=LENGTH)),
        action_space=spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=2)),
    )
    algorithm = algorithms_pb2.Algorithm(q_learning=algorithms_pb2.TabularParameters())
    player.stub.CreatePolicy(
        policies_pb2.CreatePolicyRequest(name=POLICY, environment=environment, algorithm=algorithm),
        timeout=120,
    )
    player.stub.StartTraining(training_pb2.StartTrainingRequest(policy=POLICY), timeout=120)


def _steps(player: Player) -> int:
    status = player.stub.GetTraining(
        training_pb2.GetTrainingRequest(policy=POLICY), timeout=60, wait_for_ready=True
    ).status
    return int(status.steps)


def _learn_up_to(player: Player, steps: int) -> None:
    """Return when so many transitions were learned from; what happens meanwhile is another process's."""
    deadline = time.monotonic() + WITHIN
    while _steps(player) < steps:
        assert time.monotonic() < deadline, f"{_steps(player)} of {steps} steps were learned from"
        player.play(1)


def _kill_and_go_on(process: PolicyProcess, player: Player, kills: int, between: int) -> None:
    for kill in range(kills):
        player.play(between)
        if kill % 2:
            process.kill_learner()
        else:
            process.kill()
            process.start()
    player.play(between)


def _check_log(database: str, acknowledged: dict[int, float]) -> int:
    """Return how many transitions are kept; every acknowledged one must be, once, as it was."""
    kept: dict[int, float] = {}
    cursor = Cursor()
    with LearnersStore(database) as store:
        while len((released := store.log.read(POLICY, cursor)).transitions):
            decisions = released.transitions.decision_id.tolist()
            assert not kept.keys() & set(decisions)
            kept.update(zip(decisions, released.transitions.reward.tolist(), strict=True))
            cursor = released.cursor
    assert acknowledged.items() <= kept.items()
    return len(kept)


@pytest.mark.parametrize(
    ("kills", "between"),
    [(2, 25), pytest.param(20, 250, marks=[pytest.mark.soak, pytest.mark.timeout(3_600)])],
)
def test_kills_lose_nothing_that_was_acknowledged_and_training_goes_on(
    tmp_path: Path, kills: int, between: int
):
    database = f"sqlite:///{tmp_path}/policies.db"
    with policy_process(database, tmp_path / "log") as process:
        player = Player(process.address)
        _create(player)
        _kill_and_go_on(process, player, kills, between)
        _learn_up_to(player, len(player.acknowledged))
        assert process.stop() == 0
    assert _check_log(database, player.acknowledged) >= (kills + 1) * between
