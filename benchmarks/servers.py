"""How servers of vectors are started: Triton and MLServer around the same torch code, infinity by itself."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.contestant import ContestantError
from benchmarks.embedders import Embedder, InfinityServer, OpenInferenceServer
from benchmarks.own_mesh import free_ports
from benchmarks.peers import models, places
from benchmarks.peers.models import ENCODER, PROGRAMS

WINDOW_MICROSECONDS, BATCH = 2_000, 32
TRITON = f"""
name: "embed"
backend: "python"
max_batch_size: {BATCH}
input [{{ name: "text" data_type: TYPE_STRING dims: [1] }}]
output [{{ name: "vector" data_type: TYPE_FP32 dims: [384] }}]
dynamic_batching {{ max_queue_delay_microseconds: {WINDOW_MICROSECONDS} }}
instance_group [{{ kind: KIND_CPU count: 1 }}]
parameters {{ key: "programs" value {{ string_value: "{PROGRAMS}" }} }}
"""


@dataclass(frozen=True)
class ServerPeer:
    """A server of vectors: `needs` are the folders of `make bench-peers` that it runs from."""

    name: str
    label: str
    needs: Sequence[str]
    start: Callable[[str, Path], Embedder]
    """Takes the label and a folder for what it writes."""

    def missing(self) -> str:
        """Return why it cannot take part; empty where it can."""
        return next((why for each in self.needs if (why := places.why_not(each))), "")


def started(peers: Sequence[ServerPeer], running: ExitStack, missing: dict[str, str]) -> Iterator[Embedder]:
    """Yield the peers' servers, which end with `running`; who does not start is put into `missing`."""
    for each in peers:
        if why := each.missing():
            missing[each.label] = why
            continue
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        try:
            report.progress(f"starting {each.label} …")
            server = each.start(each.label, folder)
        except ContestantError as error:
            missing[each.label] = str(error)
            continue
        running.callback(server.close)
        yield server


def _triton(label: str, folder: Path) -> Embedder:
    http, inference = free_ports(2)
    packages = Path(_packages("triton"))
    shipped = packages / "pytriton" / "tritonserver"
    shutil.copytree(shipped / "backends", folder / "backends")
    version = sysconfig.get_python_version()
    shutil.copy(
        shipped / "python_backend_stubs" / version / "triton_python_backend_stub", folder / "backends/python"
    )
    model = folder / "models" / "embed"
    (model / "1").mkdir(parents=True)
    where = f'parameters {{ key: "folder" value {{ string_value: "{models.path(ENCODER)}" }} }}\n'
    (model / "config.pbtxt").write_text(TRITON + where)
    shutil.copy(PROGRAMS / "triton_model.py", model / "1" / "model.py")
    command = [shipped / "bin" / "tritonserver", "--model-repository", model.parent]
    command += ["--backend-directory", folder / "backends", "--allow-metrics", "false"]
    command += ["--http-port", http, "--grpc-port", inference, "--http-address", "127.0.0.1"]
    libraries = [sysconfig.get_config_var("LIBDIR"), packages / "nvidia_pytriton.libs"]
    return OpenInferenceServer(
        label,
        list(map(str, command)),
        folder / "log",
        inference,
        {
            # The interpreter's own library first: the server ships one of another version.
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PATH": f"{places.python('triton').parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(packages),
        },
    )


def _mlserver(label: str, folder: Path) -> Embedder:
    http, inference, metrics = free_ports(3)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": inference, "metrics_port": metrics}
    model = {
        "name": "embed",
        "implementation": "mlserver_model.Embedder",
        "max_batch_size": BATCH,
        "max_batch_time": WINDOW_MICROSECONDS / 1e6,
        "parameters": {"uri": str(models.path(ENCODER))},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(places.python("mlserver").parent / "mlserver"), "start", str(folder)]
    return OpenInferenceServer(label, command, folder / "log", inference, {"PYTHONPATH": str(PROGRAMS)})


def _infinity(label: str, folder: Path) -> Embedder:
    (port,) = free_ports(1)
    command = [
        str(places.python("infinity").parent / "infinity_emb"),
        "v2",
        "--model-id",
        str(models.path(ENCODER)),
    ]
    command += ["--served-model-name", "embed", "--engine", "torch", "--device", "cpu", "--dtype", "bfloat16"]
    command += ["--no-model-warmup", "--batch-size", str(BATCH), "--host", "127.0.0.1", "--port", str(port)]
    return InfinityServer(
        label, command, folder / "log", port, {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    )


def _packages(peer: str) -> str:
    return str(next(places.folder(peer).glob("lib/python*/site-packages")))


SERVERS = (
    ServerPeer("triton", "Triton, python backend, torch bf16", ("triton",), _triton),
    ServerPeer("infinity", "infinity, torch bf16", ("infinity",), _infinity),
    ServerPeer("mlserver", "MLServer, torch bf16", ("mlserver",), _mlserver),
)
