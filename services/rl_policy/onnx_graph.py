"""Builds ONNX graphs of float32 rows, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from services.rl_policy.algorithms.algorithm import Array

OPSET = 17
"""What runtimes have read since 2022."""
IR_VERSION = 8
INPUT = "observation"


class Graph:
    """A graph from `observation`, float32 (batch, width), to named outputs; values are known by name."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._outputs: list[Any] = []

    def constant(self, array: Array) -> str:
        """Return the name of a constant."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of what an operator makes of these values."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def output(self, name: str, value: str, width: int) -> None:
        """Give a value away under a name, as float32 (batch, width)."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]))

    def serialised(self, metadata: Mapping[str, str]) -> bytes:
        """Return the model as a file's bytes."""
        seen = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", self._width])
        graph = helper.make_graph(self._nodes, "policy", [seen], self._outputs, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="trunkline"
        )
        helper.set_model_props(model, dict(metadata))
        data: bytes = model.SerializeToString(deterministic=True)
        return data
