"""One rpc as both sides see it: its name, its kind and how long it may take where nobody says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

UNARY_S = 30.0
STREAM_S = 600.0

# Rpcs that take longer than others of their kind; None where the call lives until somebody ends it.
_BY_NAME: dict[str, float] = {"Generate": 600.0, "LoadModel": 3600.0, "Train": 3600.0, "Evaluate": 3600.0}
_ENDLESS = ("Watch", "Session", "Rollout")


@dataclass(frozen=True)
class Rpc:
    """One method of a service."""

    service: str
    """Full name: `trunkline.inference.v1.InferenceService`."""
    name: str
    client_streaming: bool
    server_streaming: bool

    @cached_property
    def full_name(self) -> str:
        """`trunkline.inference.v1.InferenceService/Generate`, as spans have it."""
        return f"{self.service}/{self.name}"

    @cached_property
    def path(self) -> str:
        """`/trunkline.inference.v1.InferenceService/Generate`, as HTTP/2 has it."""
        return f"/{self.full_name}"

    @property
    def is_watch(self) -> bool:
        """Whether the call only watches, so that nothing is lost when the server ends it to stop."""
        return self.name.startswith("Watch") or self.service.startswith("grpc.reflection.")

    @property
    def is_infrastructure(self) -> bool:
        """Whether the call is plumbing (health, reflection, OTLP), which is not itself observed."""
        return self.service.startswith(("grpc.", "opentelemetry."))

    @property
    def default_timeout_s(self) -> float | None:
        """How long a call may take whose caller set no deadline; None: for ever."""
        both = self.client_streaming and self.server_streaming
        if self.name in _BY_NAME:
            return _BY_NAME[self.name]
        if both or self.name.startswith(_ENDLESS):
            return None
        return STREAM_S if self.client_streaming or self.server_streaming else UNARY_S


def default_timeout(name: str) -> float:
    """Return how long a request of a session may take whose sender says nothing: as a call of that name."""
    return _BY_NAME.get(name, UNARY_S)


def parse(path: str | bytes, *, client_streaming: bool, server_streaming: bool) -> Rpc:
    """Return the rpc of an HTTP/2 path such as `/package.Service/Method`."""
    text = path.decode() if isinstance(path, bytes) else path
    service, _, name = text.lstrip("/").rpartition("/")
    return Rpc(service, name, client_streaming, server_streaming)
