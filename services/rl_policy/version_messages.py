"""Versions, incidents and estimates as messages."""

from __future__ import annotations

from trunkline.policy.v1 import evaluation_pb2, traffic_pb2
from trunkline.policy.v1 import versions_pb2 as pb

from services.kit.errors import invalid
from services.rl_policy.episode_messages import timestamp
from services.rl_policy.evaluating import BuiltIn, How, OffPolicy, OwnEpisodes
from services.rl_policy.evaluation.estimate import Estimate
from services.rl_policy.evaluation.question import Method
from services.rl_policy.store.records import Incident, Version

_METHODS = {
    evaluation_pb2.OFF_POLICY_METHOD_IPS: Method.IPS,
    evaluation_pb2.OFF_POLICY_METHOD_SNIPS: Method.SNIPS,
    evaluation_pb2.OFF_POLICY_METHOD_PDIS: Method.PDIS,
    evaluation_pb2.OFF_POLICY_METHOD_DIRECT: Method.DIRECT,
    evaluation_pb2.OFF_POLICY_METHOD_DOUBLY_ROBUST: Method.DOUBLY_ROBUST,
    evaluation_pb2.OFF_POLICY_METHOD_FQE: Method.FQE,
}


def encode_version(version: Version) -> pb.Version:
    """Return a version."""
    return pb.Version(
        policy=version.policy,
        number=version.number,
        algorithm=version.algorithm,
        parent=version.parent,
        origin=version.origin,
        steps=version.cursor.position,
        metrics=version.metrics,
        fault=version.fault,
        digest=version.digest,
        create_time=timestamp(version.created_at),
    )


def encode_incident(incident: Incident) -> traffic_pb2.Incident:
    """Return an incident."""
    return traffic_pb2.Incident(
        number=incident.number,
        kind=incident.kind,
        message=incident.message,
        details=incident.details,
        time=timestamp(incident.at),
    )


def encode_estimate(version: int, estimate: Estimate) -> evaluation_pb2.Estimate:
    """Return how good a version is."""
    return evaluation_pb2.Estimate(
        version=version,
        mean=estimate.mean,
        deviation=estimate.deviation,
        low=estimate.low,
        high=estimate.high,
        episodes=estimate.episodes,
        effective_sample_size=estimate.effective,
        warnings=estimate.warnings,
    )


def newest_first(of: Version | Incident) -> str:
    """Return the key that puts the newest first."""
    return f"{2**63 - of.number:020d}"


def method_of(request: evaluation_pb2.EvaluateRequest | evaluation_pb2.CompareVersionsRequest) -> How:
    """Return how versions are to be judged; raises InvalidArgument."""
    match request.WhichOneof("method"):
        case "episodes":
            return OwnEpisodes(evaluation_only=request.episodes.evaluation_only)
        case "built_in":
            built_in = request.built_in
            return BuiltIn(built_in.environment_id, built_in.episodes or 100, built_in.seed)
        case "off_policy":
            return _off_policy(request.off_policy)
    raise invalid("method", "must be given")


def _off_policy(message: evaluation_pb2.OffPolicyEvaluation) -> OffPolicy:
    if message.method not in _METHODS:
        raise invalid("off_policy.method", f"must be one of OffPolicyMethod, not {message.method}")
    return OffPolicy(
        _METHODS[message.method],
        message.confidence if message.HasField("confidence") else 0.95,
        message.min_effective_sample_size if message.HasField("min_effective_sample_size") else 50.0,
        message.discount if message.HasField("discount") else None,
        message.behaviour_version if message.HasField("behaviour_version") else None,
        message.max_episodes or 10_000,
    )
