"""Server reflection, v1 and v1alpha: the same messages on the wire under two package names."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from services.kit.handler import MethodHandler

ALPHA = "grpc.reflection.v1alpha.ServerReflection"
STABLE = "grpc.reflection.v1.ServerReflection"


def method_handlers(services: Iterable[str]) -> dict[str, MethodHandler]:
    """Return the methods that list and describe `services` (full names); their modules must be imported."""
    servicer = reflection.aio.ReflectionServicer([*services, ALPHA])
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=ServerReflectionRequest.FromString,
        response_serializer=ServerReflectionResponse.SerializeToString,
    )
    return {"ServerReflectionInfo": handler}
