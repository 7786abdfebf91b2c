"""Versions of the models, trainings, evaluations and policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.recommender.v1 import evaluation_pb2
from trunkline.recommender.v1 import models_pb2 as pb

from services.kit.errors import invalid
from services.recommender.evaluation.protocols import DEFAULT_PROTOCOL, protocol
from services.recommender.limits import check_count, check_number, check_text
from services.recommender.messages.times import duration, length, seconds, timestamp
from services.recommender.models.kinds import algorithm
from services.recommender.serving.operations import EvaluateRequest, Gate, Operation, Policy, TrainRequest
from services.recommender.store.registry import Stage, Version

MAX_ALGORITHMS = 16
MAX_SEEDS = 100
MAX_K = 1_000
_STAGES = {
    Stage.CANDIDATE: pb.STAGE_CANDIDATE,
    Stage.LIVE: pb.STAGE_SERVING,
    Stage.RETIRED: pb.STAGE_RETIRED,
    Stage.FAILED: pb.STAGE_FAILED,
}
_STATES = {
    "running": pb.TRAINING_STATE_RUNNING,
    "succeeded": pb.TRAINING_STATE_SUCCEEDED,
    "failed": pb.TRAINING_STATE_FAILED,
    "cancelled": pb.TRAINING_STATE_CANCELLED,
}


def train_request(message: pb.TrainRequest) -> TrainRequest:
    """Return what to train. Raises InvalidArgument."""
    parameters = _algorithms(message.algorithms)
    return TrainRequest(
        algorithms=tuple(parameters),
        parameters=parameters,
        since=seconds("since", message.since) if message.HasField("since") else 0.0,
        promote=message.promote if message.HasField("promote") else True,
        gate=gate("gate", message.gate) if message.HasField("gate") else None,
    )


def evaluate_request(message: evaluation_pb2.EvaluateRequest) -> EvaluateRequest:
    """Return what to evaluate. Raises InvalidArgument."""
    parameters = _algorithms(message.algorithms)
    check_count("seeds", message.seeds, 0, MAX_SEEDS)
    if len(set(message.seeds)) < len(message.seeds):
        raise invalid("seeds", "must be different ones")
    return EvaluateRequest(
        algorithms=tuple(parameters),
        parameters=parameters,
        protocol=protocol(message.protocol or DEFAULT_PROTOCOL).name,
        seeds=tuple(int(check_number("seeds", each, 0, 2**32 - 1)) for each in message.seeds) or (1,),
        k=int(check_number("k", message.k or 10, 1, MAX_K)),
    )


def evaluation_message(operation: Operation, request: EvaluateRequest) -> evaluation_pb2.EvaluateResponse:
    """Return what an evaluation found."""
    return evaluation_pb2.EvaluateResponse(
        metrics={
            name: _metric(each) for name, each in operation.metrics.items() if isinstance(each, Mapping)
        },
        algorithms=[_algorithm_message(kind, request.parameters[kind]) for kind in request.algorithms],
        duration=duration(operation.ended - operation.started),
    )


def training_message(operation: Operation) -> pb.Training:
    """Return the message of a training."""
    return pb.Training(
        training_id=operation.operation_id,
        state=_STATES[operation.state],
        trigger=operation.cause,
        version=operation.version,
        error=operation.error,
        started_at=timestamp(operation.started),
        ended_at=timestamp(operation.ended),
        promoted=operation.promoted,
        refused=operation.refused,
    )


def version_message(version: Version) -> pb.ModelVersion:
    """Return the message of a version: what the registry knows, and what its manifest says."""
    manifest = version.manifest
    models = manifest.get("models", {})
    kinds = models if isinstance(models, Mapping) else {}
    return pb.ModelVersion(
        version=version.name,
        stage=_STAGES[version.stage],
        algorithms=[_algorithm_message(kind, _parameters(each)) for kind, each in kinds.items()],
        origin=str(manifest.get("origin", "training")),
        users=_count(manifest, "users"),
        items=_count(manifest, "items"),
        interactions=_count(manifest, "interactions"),
        sequence=version.sequence,
        metrics=_numbers(manifest.get("metrics", {})),
        training_time=duration(float(manifest.get("training_s", 0.0))),
        created_at=timestamp(version.created),
        erased_users=version.erased_since,
        note=version.note,
    )


def gate(field: str, message: pb.Gate) -> Gate:
    """Return the condition. Raises InvalidArgument."""
    if not message.metric:
        raise invalid(f"{field}.metric", "must not be empty")
    return Gate(
        metric=check_text(f"{field}.metric", message.metric, 64),
        at_least=_bounded(f"{field}.at_least", message, "at_least", -1e9, 1e9),
        max_drop=_bounded(f"{field}.max_drop", message, "max_drop", 0.0, 1.0),
    )


def policy(message: pb.RetrainPolicy) -> Policy:
    """Return the policy. Raises InvalidArgument."""
    return Policy(
        every_events=int(_bounded("policy.every_events", message, "every_events", 1, 1e15) or 0),
        period_s=length("policy.period", message.period, 10.0) if message.HasField("period") else 0.0,
        ctr_drop=_bounded("policy.click_rate_drop", message, "click_rate_drop", 1e-9, 1.0) or 0.0,
        promote=message.promote if message.HasField("promote") else True,
        gate=gate("policy.gate", message.gate) if message.HasField("gate") else None,
    )


def policy_message(found: Policy) -> pb.RetrainPolicy:
    """Return the message of a policy."""
    message = pb.RetrainPolicy(
        every_events=found.every_events or None,
        period=duration(found.period_s) if found.period_s else None,
        click_rate_drop=found.ctr_drop or None,
        promote=found.promote,
    )
    if found.gate is not None:
        gated = found.gate
        message.gate.CopyFrom(pb.Gate(metric=gated.metric, at_least=gated.at_least, max_drop=gated.max_drop))
    return message


def _algorithms(messages: Iterable[pb.Algorithm]) -> dict[str, dict[str, float]]:
    """Return parameters by kind, tried out so that a wrong one is refused before anything is begun."""
    listed = list(messages)
    check_count("algorithms", listed, 0, MAX_ALGORITHMS)
    found: dict[str, dict[str, float]] = {}
    for index, each in enumerate(listed):
        if each.kind in found:
            raise invalid(f"algorithms[{index}].kind", f"must be named once: {each.kind!r}")
        found[each.kind] = dict(each.parameters)
        algorithm(each.kind, found[each.kind])
    return found


def _algorithm_message(kind: str, parameters: Mapping[str, Any]) -> pb.Algorithm:
    return pb.Algorithm(kind=kind, parameters=_numbers(parameters))


def _parameters(model: Any) -> Mapping[str, Any]:
    found = model.get("config", {}) if isinstance(model, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _metric(found: Mapping[str, Any]) -> evaluation_pb2.Metric:
    mean = float(found["mean"])
    return evaluation_pb2.Metric(
        mean=mean,
        per_seed=[float(each) for each in found.get("per_seed", ())],
        low=float(found.get("low", mean)),
        high=float(found.get("high", mean)),
    )


def _numbers(found: Any) -> dict[str, float]:
    if not isinstance(found, Mapping):
        return {}
    return {str(name): float(each) for name, each in found.items() if isinstance(each, int | float)}


def _count(manifest: Mapping[str, Any], name: str) -> int:
    found = manifest.get(name, 0)
    return found if isinstance(found, int) and found >= 0 else 0


def _bounded(field: str, message: Any, name: str, low: float, high: float) -> float | None:
    if not message.HasField(name):
        return None
    return check_number(field, float(getattr(message, name)), low, high)
