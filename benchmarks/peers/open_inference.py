"""The call of the Open Inference Protocol that its servers are asked here: a sentence in, a vector out."""

from __future__ import annotations

import struct
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_Field = FieldDescriptorProto
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
# Each message's fields that are used here: number, name, type, and "*" where it is repeated.
_MESSAGES = {
    "Contents": ((6, "fp32_contents", _Field.TYPE_FLOAT, "*"),),
    "Tensor": (
        (1, "name", _Field.TYPE_STRING, ""),
        (2, "datatype", _Field.TYPE_STRING, ""),
        (3, "shape", _Field.TYPE_INT64, "*"),
        (5, "contents", ".inference.Contents", ""),
    ),
    "ModelInferRequest": (
        (1, "model_name", _Field.TYPE_STRING, ""),
        (5, "inputs", ".inference.Tensor", "*"),
        (7, "raw_input_contents", _Field.TYPE_BYTES, "*"),
    ),
    "ModelInferResponse": (
        (5, "outputs", ".inference.Tensor", "*"),
        (6, "raw_output_contents", _Field.TYPE_BYTES, "*"),
    ),
}


def _messages() -> dict[str, Any]:
    file = FileDescriptorProto(name="open_inference.proto", package="inference", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = DescriptorProto(name=name)
        for number, field, kind, many in fields:
            added = message.field.add(name=field, number=number)
            added.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, kind
            else:
                added.type = kind
        file.message_type.append(message)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES}


_TYPES = _messages()


class OpenInference:
    """A server's model named `embed`, which takes BYTES `text` of shape [1, 1] and gives FP32 `vector`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._infer = channel.unary_unary(
            _METHOD,
            request_serializer=_TYPES["ModelInferRequest"].SerializeToString,
            response_deserializer=_TYPES["ModelInferResponse"].FromString,
        )

    async def embed(self, sentence: str) -> list[float]:
        """Return a sentence's vector."""
        text = sentence.encode()
        tensor = _TYPES["Tensor"](name="text", datatype="BYTES", shape=[1, 1])
        raw = struct.pack("<I", len(text)) + text
        request = _TYPES["ModelInferRequest"](model_name="embed", inputs=[tensor], raw_input_contents=[raw])
        answer = await self._infer(request)
        if answer.raw_output_contents:
            packed = answer.raw_output_contents[0]
            return list(struct.unpack(f"<{len(packed) // 4}f", packed))
        return list(answer.outputs[0].contents.fp32_contents)
