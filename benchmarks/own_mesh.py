"""A mesh of the benchmark's own, as `trunkline up` starts it; the generator stands there once a precision."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import grpc
import psutil
from trunkline.worker.v1.worker_pb2 import WatchStatusRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from benchmarks import quiet
from benchmarks.mesh import Mesh
from benchmarks.peers.models import ENCODER, GENERATOR
from gateway.commands.lent_mesh import lent_mesh
from services.kit.settings import read
from services.kit.telemetry import TelemetrySettings
from services.store.catalogue import Catalogue
from services.store.settings import StoreSettings
from services.store.spec import ModelSpec

# Each address of the mesh by its variable; a benchmark must not meet another mesh of this machine.
ADDRESSES = ("PUBLIC", "OPERATORS", "CONTROLLER", "TOKENIZER", "WORKERS", "MONITOR", "METRICS_HTTP")


@contextlib.contextmanager
def own_mesh(precisions: Sequence[str]) -> Iterator[Mesh]:
    """Have a mesh with the encoder, and the generator once in each precision (see `entry_name`).

    Nothing else is set: metrics, traces and limits are those of every `trunkline up`. Raises CommandError
    when it does not get ready.
    """
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as folder:
        catalogue = Path(folder) / "catalogue.toml"
        catalogue.write_text("\n".join(_entry(each) for each in precisions))
        names = [entry_name(each) for each in precisions]
        variables = {
            **_addresses(),
            "TRUNKLINE_STATE": folder,
            "TRUNKLINE_CATALOGUE": str(catalogue),
            "TRUNKLINE_MODELS": ",".join([*names, ENCODER]),
        }
        with _environment(variables), lent_mesh(quiet=True):
            (mesh_process,) = psutil.Process().children()
            quiet.raise_family(quiet.family(mesh_process.pid))
            mesh = Mesh(mesh_process.pid)
            try:
                yield mesh
            finally:
                mesh.close()
                quiet.resume(mesh_process.pid)


def entry_name(precision: str) -> str:
    """Return the name under which the generator answers in this precision."""
    return f"{GENERATOR}-{precision}"


def ways() -> str:
    """Return in a sentence how the mesh's worker runs each model: by which runner, in which precision."""
    with grpc.insecure_channel(os.environ["TRUNKLINE_WORKERS"]) as channel:
        watch = WorkerServiceStub(channel).WatchStatus(WatchStatusRequest())
        models = next(watch).models
        watch.cancel()
    return "Models: " + "; ".join(f"{model.model}: {model.message}" for model in models) + "."


def telemetry() -> str:
    """Return in a sentence what a mesh tells of itself as it is shipped."""
    settings = read(TelemetrySettings)
    return (
        f"The mesh runs as it is shipped: metrics every {settings.metrics_interval_s:g} s, "
        f"traces of {settings.trace_ratio:.0%} of the calls."
    )


def _entry(precision: str) -> str:
    spec = Catalogue.read(read(StoreSettings).catalogue).get(GENERATOR)
    kept = {each.name: getattr(spec, each.name) for each in fields(ModelSpec)}
    wanted = {**kept, "name": entry_name(precision), "dtype": precision}
    lines = [f'{key} = "{value}"' for key, value in wanted.items() if isinstance(value, str) and value]
    return "\n".join(["[[model]]", *lines, ""])


def _addresses() -> dict[str, str]:
    ports = free_ports(len(ADDRESSES) + 1)
    addresses = {
        f"TRUNKLINE_{name}": f"127.0.0.1:{port}" for name, port in zip(ADDRESSES, ports, strict=False)
    }
    return {
        **addresses,
        "TRUNKLINE_FRONT_PORT": str(ports[-1]),
        "TRUNKLINE_ADDRESS": addresses["TRUNKLINE_PUBLIC"],
        "TRUNKLINE_OPERATOR_ADDRESS": addresses["TRUNKLINE_OPERATORS"],
    }


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback on which nothing listens now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
