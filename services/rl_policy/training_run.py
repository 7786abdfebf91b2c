"""One training run against the service: the environment is played here, the learning is done there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any
from uuid import uuid4

import grpc
import gymnasium
from trunkline.policy.v1 import algorithms_pb2, episodes_pb2, policies_pb2, training_pb2, versions_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.kit.command import CommandError
from services.rl_policy.remote import RemotePlayer, environment_of

UNARY_SECONDS = 60.0
FINISH_SECONDS = 600.0
FIRST_SEED = 1_000_000
"""Of the episodes that judge: none that was learned from."""
MOST_SIDE_BY_SIDE = 10
TELLS = 10


@dataclass(frozen=True)
class TrainingRun:
    """What to train, and how."""

    algorithm: str
    environment_id: str
    steps: int
    seed: int
    name: str
    environments: int = 1
    discount: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 100


def name_of(algorithm: str, environment_id: str) -> str:
    """Return a new policy's name."""
    words = re.sub(r"[^a-z0-9.-]+", "-", f"{algorithm}-{environment_id}".lower()).strip("-.")
    return f"{words[:50]}-{uuid4().hex[:8]}"


def parameters_of(settings: Sequence[str]) -> dict[str, Any]:
    """Return hyper-parameters of NAME=VALUE: numbers, true or false, lists by comma, START:END:STEPS."""
    parameters = {}
    for each in settings:
        name, equals, text = each.partition("=")
        if not equals:
            raise CommandError(f"--set {each}: must be NAME=VALUE.")
        try:
            parameters[name] = _value(text)
        except ValueError as error:
            raise CommandError(f"--set {each}: {text!r} is no number, true, false or schedule.") from error
    return parameters


def train(channel: grpc.Channel, run: TrainingRun, say: Callable[[str], None]) -> dict[str, Any]:
    """Train and judge a policy; return what it came to. Raises grpc.RpcError and CommandError."""
    stub = PolicyServiceStub(channel)
    environments = [_made(run.environment_id) for _ in range(run.environments)]
    _begin(stub, run, environments[0])
    began = time.perf_counter()
    with RemotePlayer(stub, run.name, environments, seed=run.seed, lock_step=True) as player:
        _learn(player, run, say)
    took = time.perf_counter() - began
    status = _finished(stub, run.name)
    version = stub.GetVersion(versions_pb2.GetVersionRequest(policy=run.name), timeout=UNARY_SECONDS).version
    earned = _judge(stub, run)
    return {
        "policy": run.name,
        "version": version.number,
        "return_mean": fmean(earned),
        "return_std": pstdev(earned),
        "episodes": len(earned),
        "steps": status.steps,
        "seed": run.seed,
        "wall_s": round(took, 2),
    }


def _begin(stub: PolicyServiceStub, run: TrainingRun, environment: Any) -> None:
    request = policies_pb2.CreatePolicyRequest(
        name=run.name,
        environment=environment_of(environment, run.environment_id),
        algorithm=_algorithm(run),
        seed=run.seed,
    )
    stub.CreatePolicy(request, timeout=UNARY_SECONDS)
    start = training_pb2.StartTrainingRequest(policy=run.name, step_budget=run.steps)
    stub.StartTraining(start, timeout=UNARY_SECONDS)


def _finished(stub: PolicyServiceStub, policy: str) -> training_pb2.TrainingStatus:
    watch = training_pb2.WatchTrainingRequest(policy=policy)
    for _ in stub.WatchTraining(watch, timeout=FINISH_SECONDS):
        pass  # it ends when the last step was learned from, and kept
    stop = training_pb2.StopTrainingRequest(policy=policy)
    return stub.StopTraining(stop, timeout=UNARY_SECONDS).status


def _learn(player: RemotePlayer, run: TrainingRun, say: Callable[[str], None]) -> None:
    part = max(1, run.steps // TELLS)
    while (left := run.steps - player.played.steps) > 0:
        player.play(min(part, left))
        last = player.played.returns[-100:]
        mean = f"{fmean(last):.2f} over the last {len(last)} episodes" if last else "no episode has ended"
        say(f"{player.played.steps:,} steps: {mean}")


def _judge(stub: PolicyServiceStub, run: TrainingRun) -> list[float]:
    """Return the returns of greedy episodes by the version that was kept."""
    count = min(MOST_SIDE_BY_SIDE, run.episodes)
    environments = [_made(run.environment_id) for _ in range(count)]
    stage = episodes_pb2.EPISODE_STAGE_EVALUATION
    with RemotePlayer(stub, run.name, environments, seed=FIRST_SEED, stage=stage) as player:
        return player.play_episodes(-(-run.episodes // count))[: run.episodes]


def _algorithm(run: TrainingRun) -> algorithms_pb2.Algorithm:
    algorithm = algorithms_pb2.Algorithm(discount=run.discount)
    parameters = getattr(algorithm, run.algorithm)
    parameters.SetInParent()
    for name, value in run.parameters.items():
        known = parameters.DESCRIPTOR.fields_by_name.get(name)
        if known is None:
            names = ", ".join(each.name for each in parameters.DESCRIPTOR.fields)
            raise CommandError(f"{run.algorithm} has no {name}; it has {names}.")
        try:
            _set(parameters, name, value, is_schedule=known.message_type is not None)
        except (TypeError, ValueError) as error:
            raise CommandError(f"{name} cannot be {value}: {error}.") from error
    return algorithm


def _set(parameters: Any, name: str, value: Any, *, is_schedule: bool) -> None:
    if is_schedule:
        parts = value if isinstance(value, tuple) else (value,)
        schedule = algorithms_pb2.Schedule(start=parts[0])
        if len(parts) > 1:
            schedule.end, schedule.steps = parts[1], int(parts[2])
        getattr(parameters, name).CopyFrom(schedule)
    elif isinstance(value, list):
        getattr(parameters, name).extend(value)
    else:
        setattr(parameters, name, value)


def _value(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if ":" in text:
        start, end, steps = text.split(":")
        return float(start), float(end), int(steps)
    if "," in text:
        return [int(each) for each in text.split(",")]
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _made(environment_id: str) -> Any:
    try:
        return gymnasium.make(environment_id)
    except gymnasium.error.Error as error:
        raise CommandError(f"gymnasium has no environment {environment_id!r}: {error}") from error
