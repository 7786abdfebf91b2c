"""The base install is the contract and the command line: no torch, no Envoy, and it streams from a mesh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.harness import RunningMesh

ROOT = Path(__file__).parents[2]
SOURCES = ["gateway", "services", "protos"]
FILES = ["pyproject.toml", "hatch_build.py", "constraints.txt", "README.md", "LICENSE"]
NO_INDEX = ("Could not find a version", "No matching distribution", "Connection", "Network")


def run(command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def base_install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with `pip install .` and nothing else; built from a copy, beside the mesh."""
    folder = tmp_path_factory.mktemp("base")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name)
    for name in FILES:
        shutil.copy(ROOT / name, folder / "source" / name)
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", venv]).check_returncode()
    constraints = folder / "source" / "constraints.txt"
    done = run([venv / "bin" / "pip", "install", "--quiet", "-c", constraints, folder / "source"])
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip("pip reaches no package index, which the base install comes from")
    assert done.returncode == 0, done.stderr
    return venv / "bin"


@pytest.mark.timeout(300)
def test_the_base_install_alone_streams_from_a_running_mesh(mesh: RunningMesh, base_install: Path) -> None:
    missing = run([base_install / "python", "-c", "import torch, envoy, opentelemetry"])
    assert "ModuleNotFoundError" in missing.stderr
    done = run(
        [base_install / "trunkline", "generate", "--temperature", "0", "What is the capital of France?"],
        TRUNKLINE_ADDRESS=mesh.public,
    )
    assert "Paris" in done.stdout, done.stderr
    status = run([base_install / "trunkline", "status", "--once"], TRUNKLINE_ADDRESS=mesh.public)
    assert "inference_worker" in status.stdout, status.stderr
