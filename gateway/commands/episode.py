"""What a tour shows of the policies: an environment played here, learned by the mesh in lock-step."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

import grpc
from trunkline.policy.v1 import rollout_pb2, training_pb2
from trunkline.policy.v1.algorithms_pb2 import Algorithm, Schedule, TabularParameters
from trunkline.policy.v1.episodes_pb2 import EPISODE_STAGE_EVALUATION, EPISODE_STAGE_TRAINING, EpisodeStage
from trunkline.policy.v1.policies_pb2 import CreatePolicyRequest, DeletePolicyRequest
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from trunkline.policy.v1.spaces_pb2 import DiscreteSpace, Environment, Space
from trunkline.policy.v1.values_pb2 import DATA_TYPE_INT64, Tensor

from gateway.commands.offer import UNARY_SECONDS
from services.kit.command import CommandError

PLACES = 10
"""Of a corridor: 0 goes left, 1 goes right; the last place pays 1 and ends the episode, a step costs 0.01."""
STEPS = 600
SEED = 7
PLAY_SECONDS = 120.0


@dataclass(frozen=True)
class Played:
    """What the policy did before it had learned, and after."""

    steps: int
    first_length: int
    """Steps of the first episode."""
    last_length: int
    """Steps of a greedy episode at the end."""
    least_length: int
    seconds: float


def play(public: grpc.Channel, operators: grpc.Channel) -> Played | None:
    """Return what a policy came to that is deleted at the end; None where the mesh has no policies' service.

    Raises CommandError where it has not learned the corridor.
    """
    stub = PolicyServiceStub(public)
    policy = f"tour-{uuid4().hex[:12]}"
    try:
        stub.CreatePolicy(_request(policy), timeout=UNARY_SECONDS)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise
    try:
        return _learned(stub, policy)
    finally:
        stub.StopTraining(training_pb2.StopTrainingRequest(policy=policy), timeout=UNARY_SECONDS)
        PolicyServiceStub(operators).DeletePolicy(DeletePolicyRequest(name=policy), timeout=UNARY_SECONDS)


def _learned(stub: PolicyServiceStub, policy: str) -> Played:
    began = time.perf_counter()
    start = training_pb2.StartTrainingRequest(policy=policy, step_budget=STEPS)
    stub.StartTraining(start, timeout=UNARY_SECONDS)
    lengths = _play(stub, policy, EPISODE_STAGE_TRAINING, STEPS, lock_step=True)
    stub.StopTraining(training_pb2.StopTrainingRequest(policy=policy), timeout=UNARY_SECONDS)
    took = time.perf_counter() - began
    greedy = _play(stub, policy, EPISODE_STAGE_EVALUATION, 5 * PLACES, lock_step=False)
    if not lengths or not greedy or greedy[0] > 2 * PLACES:
        raise CommandError("The policy has not learned its corridor.")
    return Played(STEPS, lengths[0], greedy[0], PLACES - 1, round(took, 1))


def _play(
    stub: PolicyServiceStub, policy: str, stage: EpisodeStage.ValueType, steps: int, *, lock_step: bool
) -> list[int]:
    """Play `steps` steps over one stream; return the length of each episode that ended."""
    sent: queue.SimpleQueue[rollout_pb2.RolloutRequest | None] = queue.SimpleQueue()
    start = rollout_pb2.RolloutStart(
        policy=policy, environments=1, stage=stage, seed=SEED, lock_step=lock_step
    )
    sent.put(rollout_pb2.RolloutRequest(start=start))
    answers = stub.Rollout(iter(sent.get, None), timeout=PLAY_SECONDS)
    try:
        next(answers)
        sent.put(_step(observations=_tensor(0)))
        lengths = list(_walk(islice(answers, steps), sent))
    finally:
        sent.put(None)
    for _ in answers:
        pass  # until everything is kept
    return lengths


def _walk(
    answers: Iterator[rollout_pb2.RolloutResponse],
    sent: queue.SimpleQueue[rollout_pb2.RolloutRequest | None],
) -> Iterator[int]:
    """Do what each answer says, and tell what came of it; yield the length of each episode that ends."""
    place = length = 0
    for answer in answers:
        right = int.from_bytes(answer.actions.actions.data, "little") == 1
        place, length = max(0, place + (1 if right else -1)), length + 1
        if place < PLACES - 1:
            sent.put(_step(observations=_tensor(place), rewards=[-0.01]))
            continue
        sent.put(
            _step(
                observations=_tensor(0), rewards=[1.0], terminated=[True], final_observations=_tensor(place)
            )
        )
        yield length
        place = length = 0


def _step(**step: object) -> rollout_pb2.RolloutRequest:
    return rollout_pb2.RolloutRequest(step=rollout_pb2.RolloutStep(**step))  # type: ignore[arg-type]  # by name


def _tensor(place: int) -> Tensor:
    return Tensor(data_type=DATA_TYPE_INT64, shape=[1], data=place.to_bytes(8, "little"))


def _request(policy: str) -> CreatePolicyRequest:
    epsilon = Schedule(start=1.0, end=0.05, steps=STEPS // 2)
    return CreatePolicyRequest(
        name=policy,
        environment=Environment(
            name="corridor",
            observation_space=Space(discrete=DiscreteSpace(n=PLACES)),
            action_space=Space(discrete=DiscreteSpace(n=2)),
        ),
        algorithm=Algorithm(q_learning=TabularParameters(epsilon=epsilon)),
        seed=SEED,
    )
