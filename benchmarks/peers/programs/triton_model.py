"""Triton's python backend: one batch of single-sentence requests becomes one batch of the model."""

import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    """As Triton's python backend wants it; the folders of this program and the model are parameters."""

    def initialize(self, args: dict[str, str]) -> None:
        import json

        parameters = json.loads(args["model_config"])["parameters"]
        sys.path.insert(0, parameters["programs"]["string_value"])
        from torch_encoder import TorchEncoder

        self._encoder = TorchEncoder(parameters["folder"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        texts = [triton.get_input_tensor_by_name(each, "text").as_numpy().reshape(-1) for each in requests]
        vectors = self._encoder.embed([text.decode() for some in texts for text in some])
        ends = np.cumsum([len(some) for some in texts])[:-1]
        return [
            triton.InferenceResponse([triton.Tensor("vector", some)])
            for some in np.split(vectors.astype(np.float32), ends)
        ]
