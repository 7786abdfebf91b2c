"""The table of the mesh: every process, its module, its port and the services it answers.

`trunkline up`, the checks of compose and the controller read it; a port stands nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

MONITOR_HTTP_PORT = 9464
PUBLIC_PORT = 8080
OPERATORS_PORT = 8081


@dataclass(frozen=True)
class ServiceEntry:
    """One kind of process."""

    name: str
    """What people call it: `tokenizer`."""
    module: str
    """What `python -m` starts."""
    port: int
    """Where it listens on loopback by default; fronts count up from theirs."""
    services: tuple[str, ...]
    """The full names of the gRPC services it answers."""
    parent: str = ""
    """Who starts it: "" is `trunkline up` (or the platform), else the entry whose process supervises it."""

    @property
    def address(self) -> str:
        """The default address, `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"


# In the order of starting: who is dialled stands before who dials. Stopping goes backwards.
MESH: tuple[ServiceEntry, ...] = (
    ServiceEntry("monitor", "services.monitor", 50055, ("trunkline.monitor.v1.MonitorService",)),
    ServiceEntry("tokenizer", "services.tokenizer", 50051, ("trunkline.tokenizer.v1.TokenizerService",)),
    ServiceEntry(
        "inference_worker", "services.inference_worker", 50052, ("trunkline.worker.v1.WorkerService",)
    ),
    ServiceEntry(
        "recommender",
        "services.recommender",
        50053,
        ("trunkline.recommender.v1.RecommenderService",),
    ),
    ServiceEntry("rl_policy", "services.rl_policy", 50054, ("trunkline.policy.v1.PolicyService",)),
    ServiceEntry("gateway", "gateway", 50056, ("trunkline.control.v1.ControlService",)),
    ServiceEntry(
        "front", "gateway.front", 50060, ("trunkline.inference.v1.InferenceService",), parent="gateway"
    ),
)


def entry(name: str) -> ServiceEntry:
    """Return the entry called `name`; raises KeyError."""
    return next((each for each in MESH if each.name == name), None) or _unknown(name)


def owner(service: str) -> ServiceEntry:
    """Return the entry that answers the gRPC service of this full name; raises KeyError."""
    return next((each for each in MESH if service in each.services), None) or _unknown(service)


def _unknown(name: str) -> ServiceEntry:
    raise KeyError(f"no entry of the mesh is or answers {name!r}")
