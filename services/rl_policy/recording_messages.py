"""Recorded episodes as messages."""

from __future__ import annotations

from math import isfinite, isnan

import numpy as np
from trunkline.policy.v1 import log_pb2 as pb

from services.kit.errors import invalid
from services.rl_policy.acting import Choice
from services.rl_policy.algorithms.algorithm import Transitions
from services.rl_policy.episode_messages import check_tags
from services.rl_policy.episodes import Sight
from services.rl_policy.importing import Imported, ImportedStep
from services.rl_policy.spaces import Box
from services.rl_policy.specification import MAX_STEPS, Specification
from services.rl_policy.store.recordings import Recording
from services.rl_policy.store.records import Phase
from services.rl_policy.value_messages import decode_mask, decode_value, encode_tensor, encode_value


def decode_episode(message: pb.RecordedEpisode, specification: Specification, field: str) -> Imported:
    """Return an episode that was recorded elsewhere; raises InvalidArgument with the field's path."""
    if not 1 <= len(message.steps) <= MAX_STEPS:
        raise invalid(f"{field}.steps", f"must have 1 to {MAX_STEPS:,} entries, not {len(message.steps)}")
    steps = [
        _decode_step(each, specification, f"{field}.steps[{index}]")
        for index, each in enumerate(message.steps)
    ]
    path = f"{field}.final_observation"
    last = decode_value(message.final_observation, specification.observation, path)
    tags = check_tags(message.tags, f"{field}.tags")
    return Imported(steps, last, terminated=message.terminated, tags=tags)


def encode_recording(recording: Recording, specification: Specification) -> pb.RecordedEpisode:
    """Return an episode with all its steps."""
    transitions = recording.transitions
    return pb.RecordedEpisode(
        steps=[_encode_step(transitions, row, specification) for row in range(len(transitions))],
        final_observation=encode_value(specification.observation, transitions.next_observation[-1]),
        terminated=recording.episode.phase is Phase.TERMINATED,
        episode_id=recording.episode.number,
        tags=recording.episode.tags,
    )


def encode_sample(drawn: Transitions) -> pb.SampleReplayResponse:
    """Return transitions as rows of tensors."""
    return pb.SampleReplayResponse(
        observations=encode_tensor(drawn.observation.astype(np.float32)),
        actions=encode_tensor(drawn.action.astype(np.float32)),
        rewards=drawn.reward.tolist(),
        next_observations=encode_tensor(drawn.next_observation.astype(np.float32)),
        terminated=drawn.terminated.tolist(),
        truncated=drawn.truncated.tolist(),
        propensities=drawn.propensity.tolist(),
        decision_ids=drawn.decision_id.tolist(),
    )


def _decode_step(message: pb.RecordedStep, specification: Specification, field: str) -> ImportedStep:
    observation = decode_value(message.observation, specification.observation, f"{field}.observation")
    mask = decode_mask(message.action_mask, specification.action, f"{field}.action_mask")
    action = decode_value(message.action, specification.action, f"{field}.action")
    if not isfinite(message.reward):
        raise invalid(f"{field}.reward", "must be finite")
    propensity = float("nan")
    if message.HasField("propensity"):
        propensity = _propensity(message.propensity, specification, f"{field}.propensity")
    if message.policy_version >= 1 << 63:
        raise invalid(f"{field}.policy_version", "must be the number of a version")
    choice = Choice(action, propensity, float("nan"), message.policy_version)
    return ImportedStep(Sight(observation, mask), choice, message.reward)


def _propensity(value: float, specification: Specification, field: str) -> float:
    discrete = not isinstance(specification.action, Box)
    if not (isfinite(value) and value > 0 and (value <= 1 or not discrete)):
        raise invalid(field, "must be above 0, and at most 1 for discrete actions")
    return value


def _encode_step(transitions: Transitions, row: int, specification: Specification) -> pb.RecordedStep:
    propensity = float(transitions.propensity[row])
    mask = transitions.mask[row]
    return pb.RecordedStep(
        observation=encode_value(specification.observation, transitions.observation[row]),
        action=encode_value(specification.action, transitions.action[row].astype(np.float32)),
        propensity=None if isnan(propensity) else propensity,
        reward=float(transitions.reward[row]),
        action_mask=[] if mask.all() else mask.tolist(),
        policy_version=int(transitions.policy_version[row]),
        decision_id=int(transitions.decision_id[row]),
    )
