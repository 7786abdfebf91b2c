"""Versions as ONNX models, for whoever acts without this service.

Input `observation`, compact rows. Outputs by the kind of policy: `values` (what each action is worth) of
tables, Q-networks and linear bandits; `logits`, or `means` and `log_deviations`, of actors, and `value` where
they have a critic. The metadata holds the plan, the kind, and epsilon where the policy explores by it. Masks
are the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count

import numpy as np

from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Array
from services.rl_policy.algorithms.normaliser import CLIP, Normaliser
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.algorithms.states import States
from services.rl_policy.onnx_graph import INPUT, Graph

Weights = Mapping[str, Array]


def to_onnx(plan: Plan, weights: Weights) -> bytes | None:
    """Return the policy of these weights as an ONNX model, None where its kind has none."""
    kind = bytes(weights["kind"]).decode()
    write = _WRITERS.get(kind)
    if write is None or (kind == "linear" and len(weights["theta"]) == 1):
        return None
    graph = Graph(spaces.compact_size(plan.observation))
    write(graph, plan, weights)
    metadata = {"kind": kind, "plan": json.dumps(plan.document())}
    if "epsilon" in weights:
        metadata["epsilon"] = repr(float(weights["epsilon"][0]))
    return graph.serialised(metadata)


def _table(graph: Graph, plan: Plan, weights: Weights) -> None:
    """Count the state as `States.indices` does, and look it up."""
    table = weights["values"].astype(np.float32)
    low, scale, last, radix = States.of(plan).digits
    scaled = graph.op("Mul", graph.op("Sub", INPUT, graph.constant(low)), graph.constant(scale))
    whole = graph.op("Cast", scaled, to=_INT64)
    kept = graph.op("Min", graph.op("Max", whole, graph.constant(np.zeros_like(last))), graph.constant(last))
    axes = graph.constant(np.array([1], np.int64))
    state = graph.op("ReduceSum", graph.op("Mul", kept, graph.constant(radix)), axes, keepdims=0)
    graph.output("values", graph.op("Gather", graph.constant(table), state, axis=0), table.shape[1])


def _q_network(graph: Graph, plan: Plan, weights: Weights) -> None:
    actions = spaces.mask_size(plan.action)
    outputs, width = _network(graph, _rows(graph, plan, weights), weights, "q", "Relu")
    if width == actions + 1:
        value, advantages = _cut(graph, outputs, 0, 1), _cut(graph, outputs, 1, width)
        mean = graph.op("ReduceMean", advantages, axes=[1], keepdims=1)
        outputs = graph.op("Add", value, graph.op("Sub", advantages, mean))
    graph.output("values", outputs, actions)


def _actor(graph: Graph, plan: Plan, weights: Weights) -> None:
    rows = _rows(graph, plan, weights)
    outputs, width = _network(graph, rows, weights, "actor", "Tanh")
    graph.output("means" if "log_deviations" in weights else "logits", outputs, width)
    if "log_deviations" in weights:
        nothing = graph.op("Mul", outputs, graph.constant(np.zeros(1, np.float32)))
        deviations = graph.constant(weights["log_deviations"].astype(np.float32))
        graph.output("log_deviations", graph.op("Add", nothing, deviations), width)
    if "critic.0.weight" in weights:
        graph.output("value", *_network(graph, rows, weights, "critic", "Tanh"))


def _linear(graph: Graph, plan: Plan, weights: Weights) -> None:
    """Write theta · (1, context), one model an action."""
    theta = weights["theta"].astype(np.float32)
    rows = _flat(graph, plan)
    values = graph.op("MatMul", rows, graph.constant(theta[:, 1:].T))
    graph.output("values", graph.op("Add", values, graph.constant(theta[:, 0])), len(theta))


_WRITERS: Mapping[str, Callable[[Graph, Plan, Weights], None]] = {
    "table": _table,
    "q_network": _q_network,
    "actor": _actor,
    "linear": _linear,
}
_INT64 = 7
_FLOAT = 1


def _rows(graph: Graph, plan: Plan, weights: Weights) -> str:
    """Write what a network reads: flat rows, normalised where the version is."""
    rows = _flat(graph, plan)
    if "observations.mean" not in weights:
        return rows
    shift, scale = Normaliser.of(weights, "observations").factors
    scaled = graph.op("Mul", graph.op("Sub", rows, graph.constant(shift)), graph.constant(scale))
    bounds = (graph.constant(np.array(each, np.float32)) for each in (-CLIP, CLIP))
    return graph.op("Clip", scaled, *bounds)


def _flat(graph: Graph, plan: Plan) -> str:
    """Write `spaces.expand`: each discrete number one-hot."""
    if isinstance(plan.observation, spaces.Box):
        return INPUT
    parts = []
    begin = 0
    for space in _leaves(plan.observation):
        size = spaces.compact_size(space)
        if isinstance(space, spaces.Box):
            parts.append(_cut(graph, INPUT, begin, begin + size))
        for offset, states in enumerate(_counts(space)):
            number = graph.op("Cast", _cut(graph, INPUT, begin + offset, begin + offset + 1), to=_INT64)
            same = graph.op("Equal", number, graph.constant(np.arange(states)))
            parts.append(graph.op("Cast", same, to=_FLOAT))
        begin += size
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def _leaves(space: spaces.Space) -> list[spaces.Space]:
    if isinstance(space, spaces.Dict):
        return [leaf for _, each in space.spaces for leaf in _leaves(each)]
    return [space]


def _counts(space: spaces.Space) -> list[int]:
    if isinstance(space, spaces.MultiDiscrete):
        return list(space.nvec)
    return [space.n] if isinstance(space, spaces.Discrete) else []


def _cut(graph: Graph, value: str, begin: int, end: int) -> str:
    bounds = (graph.constant(np.array([each], np.int64)) for each in (begin, end, 1))
    return graph.op("Slice", value, *bounds)


def _network(graph: Graph, rows: str, weights: Weights, name: str, activation: str) -> tuple[str, int]:
    """Write a network of layers; return its output and how wide that is."""
    width = 0
    for index in count():
        if f"{name}.{index}.weight" not in weights:
            return rows, width
        if index:
            rows = graph.op(activation, rows)
        weight, bias = weights[f"{name}.{index}.weight"], weights[f"{name}.{index}.bias"]
        layer = (graph.constant(weight.astype(np.float32)), graph.constant(bias.astype(np.float32)))
        rows, width = graph.op("Gemm", rows, *layer), len(bias)
    raise AssertionError("unreachable")
