"""ONNX models of other learners, as weights that act here: a chain of dense layers with tanh between them.

Nothing of the file is run. What it says is read as layers, and anything else is refused by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto, numpy_helper

from services.rl_policy.algorithms.algorithm import Array
from services.rl_policy.algorithms.policies.kind import named
from services.rl_policy.onnx_graph import INPUT

OUTPUT = "logits"
_PASSING = {"Identity", "Flatten"}
"""Operators that change nothing for rows of float32."""


def from_onnx(data: bytes) -> dict[str, Array]:
    """Return the weights of an actor; raises ValueError, as half a sentence, for what it is not."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ValueError("is not an ONNX model") from None
    constants = {each.name: _array(each) for each in model.graph.initializer}
    by_output = {name: node for node in model.graph.node for name in node.output}
    if OUTPUT not in by_output:
        raise ValueError(f"has no output {OUTPUT!r}")
    layers = _layers(by_output, constants)
    weights: dict[str, Array] = {"kind": named("actor")}
    for index, (weight, bias) in enumerate(layers):
        weights[f"actor.{index}.weight"] = np.ascontiguousarray(weight, np.float32)
        weights[f"actor.{index}.bias"] = bias.astype(np.float32)
    return weights


def _array(tensor: Any) -> Array:
    if tensor.external_data or tensor.data_type not in {1, 11}:
        return np.empty(0, np.float32)
    return numpy_helper.to_array(tensor)


def _layers(by_output: Mapping[str, Any], constants: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    """Return the layers, first one first, walking from the output back to the input."""
    chain, value = _Chain(constants), OUTPUT
    for _ in range(len(by_output) + 1):
        if value == INPUT:
            return chain.whole()
        if value not in by_output:
            raise ValueError(f"does not come from its input {INPUT!r}")
        value = chain.step(by_output[value])
    raise ValueError("is not a chain of dense layers with Tanh between them")


class _Chain:
    """What has been walked over, last layer first."""

    def __init__(self, constants: Mapping[str, Array]) -> None:
        self._constants = constants
        self._layers: list[tuple[Array, Array]] = []
        self._shift: Array | None = None
        """A bias whose matrix is still to come."""
        self._between = False
        """Whether a Tanh waits for the layer that it follows."""

    def step(self, node: Any) -> str:
        """Walk over a node; return what it reads."""
        kind = node.op_type
        if kind in _PASSING:
            return str(node.input[0])
        if kind == "Tanh" and self._layers and not self._between and self._shift is None:
            self._between = True
            return str(node.input[0])
        if kind == "Add" and self._shift is None:
            value, self._shift = _addends(node, self._constants)
            return value
        if kind in {"Gemm", "MatMul"} and (self._between or not self._layers):
            value, layer = _dense(node, self._constants, self._shift)
            self._layers.append(layer)
            self._shift, self._between = None, False
            return value
        raise ValueError(f"has the operator {kind} where a chain of dense layers and Tanh has none")

    def whole(self) -> list[tuple[Array, Array]]:
        """Return the layers, if the walk ended before one."""
        if not self._layers or self._between or self._shift is not None:
            raise ValueError("is not a chain of dense layers with Tanh between them")
        return self._layers[::-1]


def _addends(node: Any, constants: Mapping[str, Array]) -> tuple[str, Array]:
    names = list(node.input)
    known = [name for name in names if name in constants]
    if len(known) != 1:
        raise ValueError("adds what is no bias")
    names.remove(known[0])
    return names[0], constants[known[0]].reshape(-1)


def _dense(node: Any, constants: Mapping[str, Array], shift: Array | None) -> tuple[str, tuple[Array, Array]]:
    """Return what a layer reads, its weight (inputs, outputs) and its bias."""
    flags = {each.name: each.f if each.name in {"alpha", "beta"} else each.i for each in node.attribute}
    weight = constants.get(node.input[1], np.empty(0))
    if (
        flags.get("transA")
        or flags.get("alpha", 1.0) != 1.0
        or flags.get("beta", 1.0) != 1.0
        or weight.ndim != 2
    ):
        raise ValueError("has a layer whose weight is no matrix of float32 that stands in it")
    weight = weight.T if flags.get("transB") else weight
    bias = shift
    if node.op_type == "Gemm" and len(node.input) > 2:
        own = constants.get(node.input[2], np.empty(0)).reshape(-1)
        bias = own if shift is None else own + shift
    if bias is None:
        bias = np.zeros(weight.shape[1], np.float32)
    if len(bias) != weight.shape[1]:
        raise ValueError("has a bias that does not fit its layer")
    return node.input[0], (weight, bias)
