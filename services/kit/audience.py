"""What the descriptors say of each rpc: who may call it, and whether a retry is safe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions
from trunkline.annotations.v1 import audience_pb2


class Audience(StrEnum):
    """Who may call an rpc: `trunkline.annotations.v1.Audience`, without its prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    USER = "USER"
    OPERATOR = "OPERATOR"
    MESH = "MESH"


@dataclass(frozen=True)
class Method:
    """One rpc of the contract."""

    service: str
    """Full name of its service."""
    name: str
    audience: Audience
    idempotent: bool
    """Marked NO_SIDE_EFFECTS or IDEMPOTENT: repeating it is safe."""
    client_streaming: bool
    server_streaming: bool

    @property
    def full_name(self) -> str:
        """`trunkline.inference.v1.InferenceService/Generate`, as spans and logs have it."""
        return f"{self.service}/{self.name}"

    @property
    def path(self) -> str:
        """`/trunkline.inference.v1.InferenceService/Generate`, as HTTP/2 has it."""
        return f"/{self.full_name}"


def methods(audience: Audience | None = None) -> tuple[Method, ...]:
    """Return the rpcs for `audience` (None: all), in the order of the descriptor set."""
    return tuple(each for each in _all() if audience is None or each.audience == audience)


def services(audience: Audience | None = None) -> tuple[str, ...]:
    """Return the full names of the services that have an rpc for `audience` (None: all)."""
    return tuple(dict.fromkeys(each.service for each in methods(audience)))


def idempotent_methods() -> tuple[Method, ...]:
    """Return the rpcs that may be retried without harm."""
    return tuple(each for each in _all() if each.idempotent)


def descriptor_set() -> FileDescriptorSet:
    """Return the shipped descriptor set: every proto of the contract, with what it imports."""
    return FileDescriptorSet.FromString(
        resources.files("trunkline").joinpath("descriptors.binpb").read_bytes()
    )


@cache
def _all() -> tuple[Method, ...]:
    return tuple(
        _method(f"{file.package}.{service.name}", method)
        for file in descriptor_set().file
        for service in file.service
        for method in service.method
    )


def _method(service: str, method: MethodDescriptorProto) -> Method:
    mark = audience_pb2.Audience.Name(method.options.Extensions[audience_pb2.audience])
    return Method(
        service=service,
        name=method.name,
        audience=Audience(mark.removeprefix("AUDIENCE_")),
        idempotent=method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
    )
