"""Versions as ONNX models: they say what the policy says, and others' models act here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from services.rl_policy import spaces
from services.rl_policy.algorithms.algorithm import Array, Mode
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.plan import ALGORITHMS, Plan
from services.rl_policy.algorithms.policies.kind import named
from services.rl_policy.algorithms.policies.loading import load
from services.rl_policy.onnx_export import to_onnx
from services.rl_policy.onnx_import import from_onnx

RNG = np.random.default_rng(11)
MIXED = spaces.Dict(
    (
        ("floor", spaces.Discrete(4)),
        ("place", spaces.Box((2,), (-1.0,), (1.0,))),
        ("switches", spaces.MultiDiscrete((2, 3))),
    )
)


def _plan(algorithm: str, observation: spaces.Space, action: spaces.Space) -> Plan:
    return Plan(algorithm, observation, action, ALGORITHMS[algorithm]())


def _network(name: str, *widths: int) -> dict[str, Array]:
    pairs = list(pairwise(widths))
    weights = {f"{name}.{i}.weight": RNG.normal(size=pair).astype(np.float32) for i, pair in enumerate(pairs)}
    biases = {f"{name}.{i}.bias": RNG.normal(size=pair[1]).astype(np.float32) for i, pair in enumerate(pairs)}
    return weights | biases


def _rows(count: int) -> Array:
    columns = [RNG.integers(0, 4, count), *RNG.uniform(-1, 1, (2, count)), RNG.integers(0, 2, count)]
    return np.stack([*columns, RNG.integers(0, 3, count)], axis=1).astype(np.float32)


def _run(model: bytes | None, rows: Array) -> dict[str, Array]:
    assert model is not None
    parsed = onnx.load_from_string(model)
    onnx.checker.check_model(parsed, full_check=True)
    names = [each.name for each in parsed.graph.output]
    return dict(zip(names, ReferenceEvaluator(parsed).run(None, {"observation": rows}), strict=True))


@pytest.mark.parametrize("extra", [0, 1], ids=["plain", "dueling"])
def test_a_q_network_says_the_same_values(extra: int):
    plan = _plan("dqn", MIXED, spaces.Discrete(3))
    normaliser = Normaliser.fresh(11).updated(RNG.normal(size=(50, 11)))
    weights = {"kind": named("q_network"), "epsilon": np.array([0.1]), **_network("q", 11, 8, 3 + extra)}
    weights |= normaliser.weights("observations")
    rows, masks = _rows(40), np.ones((40, 3), np.bool_)

    values = _run(to_onnx(plan, weights), rows)["values"]

    acted = load(plan, weights).act(rows, masks, Mode.GREEDY, np.zeros((40, 1)))
    assert values.argmax(axis=1).tolist() == acted.actions[:, 0].tolist()
    np.testing.assert_allclose(values.max(axis=1), acted.values, rtol=1e-4, atol=1e-5)


def test_an_actor_says_the_same_distribution_and_value():
    plan = _plan("ppo", MIXED, spaces.Discrete(3))
    weights = {"kind": named("actor"), **_network("actor", 11, 8, 3), **_network("critic", 11, 8, 1)}
    rows, masks = _rows(40), np.ones((40, 3), np.bool_)

    outputs = _run(to_onnx(plan, weights), rows)

    policy = load(plan, weights)
    odds = np.exp(outputs["logits"]) / np.exp(outputs["logits"]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(odds, policy.distribution(rows, masks, Mode.EXPLORE), rtol=1e-4, atol=1e-6)
    values = policy.act(rows, masks, Mode.EXPLORE, np.zeros((40, 1))).values
    np.testing.assert_allclose(outputs["value"][:, 0], values, rtol=1e-4, atol=1e-5)


def test_an_actor_of_a_box_gives_means_and_deviations():
    plan = _plan("ppo", spaces.Box((3,)), spaces.Box((2,), (-1.0,), (1.0,)))
    deviations = np.array([-0.5, 0.25], np.float32)
    weights = {"kind": named("actor"), **_network("actor", 3, 8, 2), "log_deviations": deviations}

    outputs = _run(to_onnx(plan, weights), RNG.normal(size=(5, 3)).astype(np.float32))

    assert outputs["means"].shape == (5, 2)
    assert (outputs["log_deviations"] == deviations).all()


def test_a_table_is_looked_up_by_the_same_state():
    space = spaces.Dict((("a", spaces.Discrete(5)), ("b", spaces.MultiDiscrete((2, 3)))))
    plan = _plan("q_learning", space, spaces.Discrete(4))
    table = RNG.normal(size=(30, 4))
    rows = np.stack([RNG.integers(0, n, 60) for n in (5, 2, 3)], axis=1).astype(np.float32)
    weights = {"kind": named("table"), "values": table, "epsilon": np.array([0.0])}

    values = _run(to_onnx(plan, weights), rows)["values"]

    acted = load(plan, weights).act(rows, np.ones((60, 4), np.bool_), Mode.GREEDY, np.zeros((60, 1)))
    np.testing.assert_allclose(values.max(axis=1), acted.values, rtol=1e-6)


def test_a_linear_bandit_says_its_means():
    plan = _plan("linucb", spaces.Box((3,)), spaces.Discrete(2))
    theta = RNG.normal(size=(2, 4))
    weights = {
        "kind": named("linear"),
        "theta": theta,
        "covariance": np.stack([np.eye(4)] * 2),
        "count": np.array([3]),
    }
    rows = RNG.normal(size=(6, 3)).astype(np.float32)

    values = _run(to_onnx(plan, weights), rows)["values"]

    np.testing.assert_allclose(values, rows @ theta[:, 1:].T + theta[:, 0], rtol=1e-5, atol=1e-5)


def test_what_has_no_onnx_form_has_none():
    plan = _plan("dqn", spaces.Box((3,)), spaces.Discrete(2))

    assert to_onnx(plan, {"kind": named("uniform")}) is None


def test_an_actor_given_away_acts_the_same_when_it_comes_back():
    plan = _plan("ppo", spaces.Box((3,)), spaces.Discrete(2))
    weights = {"kind": named("actor"), **_network("actor", 3, 8, 8, 2)}
    model = to_onnx(plan, weights)
    assert model is not None

    back = from_onnx(model)

    assert {name: each.tolist() for name, each in back.items()} == {
        name: each.tolist() for name, each in weights.items()
    }


def _foreign(*nodes: Any, **constants: Array) -> bytes:
    seen = helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 3])
    said = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    held = [numpy_helper.from_array(each, name) for name, each in constants.items()]
    return helper.make_model(helper.make_graph(nodes, "g", [seen], [said], held)).SerializeToString()


def test_matrices_with_biases_apart_and_transposed_ones_are_layers_too():
    first, bias, last = RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=(2, 4))
    model = _foreign(
        helper.make_node("Flatten", ["observation"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["m"]),
        helper.make_node("Add", ["b", "m"], ["s"]),
        helper.make_node("Tanh", ["s"], ["t"]),
        helper.make_node("Gemm", ["t", "v"], ["logits"], transB=1),
        w=first.astype(np.float32),
        b=bias.astype(np.float32),
        v=last.astype(np.float32),
    )
    rows = RNG.normal(size=(9, 3)).astype(np.float32)
    plan = _plan("ppo", spaces.Box((3,)), spaces.Discrete(2))

    policy = load(plan, from_onnx(model))

    logits = np.tanh(rows @ first + bias) @ last.T
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = policy.distribution(rows, np.ones((9, 2), np.bool_), Mode.EXPLORE)
    np.testing.assert_allclose(said, odds, rtol=1e-4)


WEIGHT = np.ones((3, 2), np.float32)
REFUSED = {
    "not an ONNX model": b"\xff\xff\xff",
    "no output 'logits'": b"",
    "operator Relu": _foreign(
        helper.make_node("Relu", ["observation"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["logits"]),
        w=WEIGHT,
    ),
    "no matrix": _foreign(helper.make_node("MatMul", ["observation", "gone"], ["logits"])),
    "adds what is no bias": _foreign(helper.make_node("Add", ["observation", "observation"], ["logits"])),
    "does not come from": _foreign(helper.make_node("MatMul", ["elsewhere", "w"], ["logits"]), w=WEIGHT),
    "not a chain": _foreign(helper.make_node("Identity", ["logits"], ["logits"])),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_chain_of_layers_is_refused_by_its_name(why: str):
    with pytest.raises(ValueError, match=why):
        from_onnx(REFUSED[why])
