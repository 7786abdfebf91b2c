"""MLServer's custom runtime: adaptive batching hands one request of several sentences to the model."""

import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

sys.path.insert(0, str(Path(__file__).parent))


class Embedder(MLModel):
    """The model in the settings' `uri`."""

    async def load(self) -> bool:
        from torch_encoder import TorchEncoder

        self._encoder = TorchEncoder(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = [text.decode() if isinstance(text, bytes) else text for text in payload.inputs[0].data]
        vectors = self._encoder.embed(texts)
        output = ResponseOutput(
            name="vector", shape=list(vectors.shape), datatype="FP32", data=vectors.reshape(-1).tolist()
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
