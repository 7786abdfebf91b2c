"""Policies and their training as messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from trunkline.policy.v1 import policies_pb2, traffic_pb2, training_pb2

from services.kit.errors import invalid
from services.rl_policy.episode_messages import timestamp
from services.rl_policy.served import Served
from services.rl_policy.specification_messages import encode_algorithm, encode_environment, encode_safety
from services.rl_policy.traffic import Guard, Traffic
from services.rl_policy.trainer import TrainingState
from services.rl_policy.training import Status, TrainingPlan

INTERVAL_S = 1.0
INTERVAL_LIMITS_S = (0.05, 60.0)

_STATES = {each: training_pb2.TrainingState.Value(f"TRAINING_STATE_{each}") for each in TrainingState}


def encode_policy(served: Served) -> policies_pb2.Policy:
    """Return a policy as it stands."""
    specification = served.specification
    return policies_pb2.Policy(
        name=served.name,
        environment=encode_environment(specification),
        algorithm=encode_algorithm(specification.plan),
        seed=specification.plan.seed,
        safety=encode_safety(specification.safety),
        newest_version=served.newest.version,
        traffic=encode_traffic(served.traffic),
        training=encode_status(served.training.status),
        create_time=timestamp(served.record.created_at),
    )


def encode_status(status: Status) -> training_pb2.TrainingStatus:
    """Return where training stands."""
    return training_pb2.TrainingStatus(
        state=_STATES[status.state],
        steps=status.steps,
        updates=status.updates,
        step_budget=status.budget,
        version=status.version,
        mean_return=status.mean_return,
        episodes=status.episodes,
        metrics=status.metrics,
        fault=status.fault,
    )


def training_plan(request: training_pb2.StartTrainingRequest) -> TrainingPlan:
    """Return what StartTraining says; raises InvalidArgument."""
    every = 60.0
    if request.HasField("checkpoint_interval"):
        every = seconds_of(request.checkpoint_interval)
    return TrainingPlan(
        request.step_budget,
        request.target_return if request.HasField("target_return") else None,
        request.learn_from_live,
        every,
    )


def interval_of(request: training_pb2.WatchTrainingRequest) -> float:
    """Return the least time between two messages, in seconds; raises InvalidArgument."""
    if not request.HasField("interval"):
        return INTERVAL_S
    interval = seconds_of(request.interval)
    low, high = INTERVAL_LIMITS_S
    if not low <= interval <= high:
        raise invalid("interval", f"must be from {low} to {high:.0f} seconds, not {interval}")
    return interval


def seconds_of(duration: Duration) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def encode_traffic(traffic: Traffic) -> traffic_pb2.Traffic:
    """Return which versions act in live episodes."""
    guard = traffic.guard
    return traffic_pb2.Traffic(
        stable_version=traffic.stable,
        canary_version=traffic.canary,
        canary_share=traffic.share,
        guard=traffic_pb2.Guard(
            min_episodes=guard.min_episodes,
            min_return=guard.min_return,
            max_drop=guard.max_drop,
            automatic_rollback=guard.automatic,
        ),
        shadow_version=traffic.shadow,
        previous_version=traffic.previous,
    )


def guard_of(message: traffic_pb2.Guard) -> Guard:
    """Return what sends a canary back; raises InvalidArgument."""
    return Guard(
        message.min_episodes if message.HasField("min_episodes") else 20,
        message.min_return if message.HasField("min_return") else None,
        message.max_drop if message.HasField("max_drop") else 0.0,
        message.automatic_rollback if message.HasField("automatic_rollback") else True,
    )
