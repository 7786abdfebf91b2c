"""Rollouts as messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from trunkline.policy.v1 import rollout_pb2 as pb

from services.kit.errors import invalid
from services.rl_policy.algorithms.algorithm import Bools, Doubles
from services.rl_policy.episode_messages import check_tags, mode_of, stage_of
from services.rl_policy.rollout import Frame, Move, Opening
from services.rl_policy.spaces import Floats, Space
from services.rl_policy.specification import Specification
from services.rl_policy.value_messages import decode_masks, decode_rows, encode_rows


def decode_start(request: pb.RolloutRequest) -> tuple[str, Opening]:
    """Return the policy's name, and how to begin; raises InvalidArgument for another message."""
    if request.WhichOneof("message") != "start":
        raise invalid("start", "must be the first message")
    start = request.start
    return start.policy, Opening(
        start.environments,
        stage_of(start.stage, "start.stage"),
        start.pinned_version if start.HasField("pinned_version") else None,
        start.seed if start.HasField("seed") else None,
        start.lock_step,
        check_tags(start.tags, "start.tags"),
    )


def decode_step(
    request: pb.RolloutRequest,
    specification: Specification,
    opening: Opening,
    begun: bool,  # noqa: FBT001 - a step was taken before
) -> Frame:
    """Return what became of the last actions, and what is seen now."""
    if request.WhichOneof("message") != "step":
        raise invalid("step", "must be every message but the first")
    step, k = request.step, opening.environments
    terminated, truncated = (
        _flags(step.terminated, k, "step.terminated"),
        _flags(step.truncated, k, "step.truncated"),
    )
    if terminated is not None and truncated is not None:
        truncated &= ~terminated
    ended = _count(terminated) + _count(truncated)
    if not begun and (ended or step.rewards):
        raise invalid("step.rewards", "must be empty in the first step, like everything about an outcome")
    return Frame(
        decode_rows(step.observations, specification.observation, k, "step.observations"),
        decode_masks(step.action_masks, k, specification.action, "step.action_masks"),
        None if step.rewards_follow or not begun else _rewards(step.rewards, k),
        terminated,
        truncated,
        _finals(step, specification, ended) if ended else None,
        mode_of(step.mode, "step.mode"),
    )


def encode_started(version: int) -> pb.RolloutResponse:
    """Return the answer to the start."""
    return pb.RolloutResponse(started=pb.RolloutStarted(policy_version=version))


def encode_move(space: Space, move: Move) -> pb.RolloutResponse:
    """Return what to do in each environment."""
    values = move.actions.values
    versions = move.versions
    same = bool((versions == versions[0]).all())
    actions = pb.RolloutActions(
        actions=encode_rows(space, move.actions.actions),
        propensities=move.actions.propensities.tolist(),
        values=[] if np.isnan(values).any() else values.tolist(),
        decision_ids=move.decisions.tolist(),
        policy_versions=[int(versions[0])] if same else versions.tolist(),
        durable_steps=move.durable,
    )
    return pb.RolloutResponse(actions=actions)


def _finals(step: pb.RolloutStep, specification: Specification, ended: int) -> Floats:
    field = "step.final_observations"
    return decode_rows(step.final_observations, specification.observation, ended, field)


def _flags(flags: Sequence[bool], count: int, field: str) -> Bools | None:
    if not flags:
        return None
    if len(flags) != count:
        raise invalid(field, f"must be empty or have {count} flags, not {len(flags)}")
    return np.asarray(flags, np.bool_)


def _count(flags: Bools | None) -> int:
    return 0 if flags is None else int(np.count_nonzero(flags))


def _rewards(rewards: Sequence[float], count: int) -> Doubles:
    array = np.asarray(rewards, np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise invalid("step.rewards", f"must be {count} finite numbers")
    return array
