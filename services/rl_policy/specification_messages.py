"""What a policy was created as, as messages; both ways."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from google.protobuf.message import Message
from trunkline.policy.v1 import algorithms_pb2, policies_pb2, spaces_pb2

from services.kit.errors import InvalidArgument, Violation, invalid
from services.rl_policy.algorithms.plan import Plan, options_of
from services.rl_policy.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from services.rl_policy.specification import MAX_STEPS, Safety, Specification
from services.rl_policy.value_messages import DTYPE_NAMES

MAX_NAME_BYTES = 256
MAX_PARTS = 256
MAX_DEPTH = 8
_TYPES = {name: kind for kind, name in DTYPE_NAMES.items()}
_FIELDS = {"double_q": "double"}
"""Options whose name is a keyword in some language."""


def decode_specification(request: policies_pb2.CreatePolicyRequest) -> Specification:
    """Return what CreatePolicy says; raises InvalidArgument with the field's path."""
    environment = request.environment
    if len(environment.name.encode()) > MAX_NAME_BYTES:
        raise invalid("environment.name", f"must have at most {MAX_NAME_BYTES} bytes")
    plan = _plan(
        request.algorithm,
        decode_space(environment.observation_space, "environment.observation_space"),
        decode_space(environment.action_space, "environment.action_space"),
        request.seed,
    )
    max_steps = environment.max_steps if environment.HasField("max_steps") else MAX_STEPS
    return Specification(environment.name, plan, max_steps, _safety(request.safety))


def decode_space(message: spaces_pb2.Space, field: str, depth: int = 0) -> Space:
    """Return a space; raises InvalidArgument with the field's path."""
    try:
        match message.WhichOneof("kind"):
            case "discrete":
                return Discrete(message.discrete.n, message.discrete.start)
            case "multi_discrete":
                return MultiDiscrete(tuple(message.multi_discrete.counts))
            case "box":
                return _box(message.box)
            case "dict":
                return _dict(message.dict, depth)
    except InvalidArgument as error:
        raise _within(field, error) from None
    raise invalid(field, "must be given")


def encode_environment(specification: Specification) -> spaces_pb2.Environment:
    """Return the environment of a policy."""
    return spaces_pb2.Environment(
        name=specification.environment,
        observation_space=encode_space(specification.observation),
        action_space=encode_space(specification.action),
        max_steps=specification.max_steps,
    )


def encode_space(space: Space) -> spaces_pb2.Space:
    """Return a space."""
    match space:
        case Discrete():
            return spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=space.n, start=space.start))
        case MultiDiscrete():
            return spaces_pb2.Space(multi_discrete=spaces_pb2.MultiDiscreteSpace(counts=space.nvec))
        case Box():
            box = spaces_pb2.BoxSpace(shape=space.shape, low=space.low, high=space.high)
            box.data_type = _TYPES[space.dtype]  # type: ignore[assignment]  # an enum's number
            return spaces_pb2.Space(box=box)
        case Dict():
            inner = {name: encode_space(each) for name, each in space.spaces}
            return spaces_pb2.Space(dict=spaces_pb2.DictSpace(spaces=inner))


def encode_algorithm(plan: Plan) -> algorithms_pb2.Algorithm:
    """Return how a policy learns, with every default filled in."""
    algorithm = algorithms_pb2.Algorithm(discount=plan.discount)
    parameters = getattr(algorithm, plan.algorithm)
    parameters.SetInParent()
    document = plan.document()["options"]
    for field in parameters.DESCRIPTOR.fields:
        value = document.get(_FIELDS.get(field.name, field.name))
        if isinstance(value, Mapping):
            schedule = {name: each for name, each in value.items() if each is not None}
            getattr(parameters, field.name).CopyFrom(algorithms_pb2.Schedule(**schedule))
        elif isinstance(value, list | tuple):
            getattr(parameters, field.name).extend(value)
        elif value is not None:
            setattr(parameters, field.name, value)
    return algorithm


def encode_safety(safety: Safety) -> policies_pb2.Safety:
    """Return what a policy must never do."""
    return policies_pb2.Safety(
        action_low=safety.action_low,
        action_high=safety.action_high,
        min_reward=safety.min_reward,
        max_reward=safety.max_reward,
        greedy_when_live=safety.greedy_when_live,
    )


def _plan(algorithm: algorithms_pb2.Algorithm, observation: Space, action: Space, seed: int) -> Plan:
    kind = algorithm.WhichOneof("kind")
    if kind is None:
        raise invalid("algorithm", "must be given")
    try:
        options = options_of(kind, _parameters(getattr(algorithm, kind)))
    except InvalidArgument as error:
        raise _within(f"algorithm.{kind}", error) from None
    except (ValueError, OverflowError) as error:
        raise invalid(f"algorithm.{kind}", str(error)) from error
    discount = algorithm.discount if algorithm.HasField("discount") else 0.99
    return Plan(kind, observation, action, options, discount, seed)


def _parameters(message: Message) -> dict[str, Any]:
    """Return the fields that are set, by the names of the options."""
    return {_FIELDS.get(field.name, field.name): _parameter(value) for field, value in message.ListFields()}


def _parameter(value: Any) -> Any:
    if isinstance(value, algorithms_pb2.Schedule):
        end = value.end if value.HasField("end") else None
        return {"start": value.start, "end": end, "steps": value.steps}
    return value if isinstance(value, int | float) else list(value)


def _safety(message: policies_pb2.Safety) -> Safety:
    return Safety(
        tuple(message.action_low),
        tuple(message.action_high),
        message.min_reward if message.HasField("min_reward") else None,
        message.max_reward if message.HasField("max_reward") else None,
        message.greedy_when_live,
    )


def _box(message: spaces_pb2.BoxSpace) -> Box:
    dtype = DTYPE_NAMES.get(message.data_type or _TYPES["float32"])
    if dtype is None:
        raise invalid("box.data_type", "must be one of DataType")
    low, high = tuple(message.low) or (-inf,), tuple(message.high) or (inf,)
    return Box(tuple(message.shape), low, high, dtype)


def _dict(message: spaces_pb2.DictSpace, depth: int) -> Dict:
    if not 1 <= len(message.spaces) <= MAX_PARTS or depth >= MAX_DEPTH:
        raise invalid(
            "dict.spaces", f"must have 1 to {MAX_PARTS} spaces, {MAX_DEPTH} within each other at most"
        )
    for name in message.spaces:
        if not 1 <= len(name) <= 63 or not all(each.isalnum() or each in "_-." for each in name):
            raise invalid("dict.spaces", "must have names of 1 to 63 letters, digits, `_`, `-` or `.`")
    parts = sorted(message.spaces.items())
    return Dict(tuple((name, decode_space(each, f"dict.spaces.{name}", depth + 1)) for name, each in parts))


def _within(field: str, error: InvalidArgument) -> InvalidArgument:
    """Return `error` with its fields' paths from the request on."""
    violations = [Violation(f"{field}.{each.field}", each.description) for each in error.violations]
    first = violations[0] if violations else Violation(field, error.message)
    return InvalidArgument(
        error.reason, f"{first.field} {first.description}", violations=violations or [first]
    )
