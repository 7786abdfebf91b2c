"""The observation of a contextual bandit: a context, and the features of each action."""

from __future__ import annotations

import numpy as np
from trunkline.policy.v1 import rewards_pb2 as pb

from services.kit.errors import FailedPrecondition, Reason, invalid
from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Bools
from services.rl_policy.spaces import Box, Dict, Discrete, Floats
from services.rl_policy.specification import Specification
from services.rl_policy.value_messages import check_masks, decode_mask, decode_value

CONTEXT, FEATURES = "context", "features"


def context_row(request: pb.DecideRequest, specification: Specification) -> tuple[Floats, Bools]:
    """Return the compact row of what a choice is made on, and which choices are allowed.

    Raises FailedPrecondition (TASK_UNSUPPORTED) for a policy that does not choose one of n, and
    InvalidArgument.
    """
    action, space = specification.action, specification.observation
    if not isinstance(action, Discrete):
        message = "Decide is for discrete actions"
        raise FailedPrecondition(Reason.TASK_UNSUPPORTED, message, metadata={"task": "DECIDE"})
    if not request.actions:
        mask = decode_mask(request.action_mask, action, "action_mask")
        return decode_value(request.context, space, "context"), mask
    context, features = _boxes(space, action.n)
    row = np.zeros(spaces.compact_size(space), np.float32)
    if request.HasField("context"):
        row[: context.size] = decode_value(request.context, context, "context")
    given = _features(request, features, action.n)
    row[context.size : context.size + given.size] = given.reshape(-1)
    return row, _mask(request, action, len(given))


def _boxes(space: spaces.Space, actions: int) -> tuple[Box, Box]:
    """Return the boxes of a dict of context and features."""
    parts = dict(space.spaces) if isinstance(space, Dict) else {}
    context, features = parts.get(CONTEXT), parts.get(FEATURES)
    if len(parts) != 2 or not isinstance(context, Box) or not isinstance(features, Box):
        raise invalid(
            "actions", "must be empty: the observation space is no dict of `context` and `features`"
        )
    if len(features.shape) != 2 or features.shape[0] != actions:
        raise invalid("actions", f"must be empty: `features` has not {actions} rows")
    return context, features


def _features(request: pb.DecideRequest, space: Box, actions: int) -> Floats:
    if len(request.actions) > actions:
        raise invalid("actions", f"must have at most {actions} entries, not {len(request.actions)}")
    width = space.shape[1]
    for index, each in enumerate(request.actions):
        if len(each.values) != width:
            raise invalid(f"actions[{index}]", f"must have {width} numbers, not {len(each.values)}")
    rows = np.asarray([each.values for each in request.actions], np.float32)
    whole = np.zeros(space.shape, np.float32)
    whole[: len(rows)] = rows
    spaces.check(space, whole, "actions")
    return rows


def _mask(request: pb.DecideRequest, action: Discrete, given: int) -> Bools:
    mask = np.zeros(action.n, np.bool_)
    if request.action_mask and len(request.action_mask) != given:
        raise invalid("action_mask", f"must be empty or have {given} flags, not {len(request.action_mask)}")
    mask[:given] = list(request.action_mask) or True
    row: Bools = check_masks(mask[None], action, "action_mask")[0]
    return row
