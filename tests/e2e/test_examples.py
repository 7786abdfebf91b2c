"""The examples do what they say, against a running mesh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = shutil.which("node")
PACKAGES = EXAMPLES / "node" / "node_modules" / "@grpc"

needs_node = pytest.mark.skipif(
    NODE is None or not PACKAGES.is_dir(),
    reason="the Node examples need node and `make examples`, which installs their packages",
)


def output(command: Sequence[str], address: str) -> str:
    """Return what the example prints; it must exit with 0."""
    done = subprocess.run(
        command,
        env={**os.environ, "TRUNKLINE_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_streams_an_answer(mesh_address: str) -> None:
    script = str(EXAMPLES / "python" / "generate.py")
    printed = output([sys.executable, script, "What is the capital of France?"], mesh_address)
    assert "Paris" in printed
    assert "tokens read" in printed


def test_the_python_example_compares_texts(mesh_address: str) -> None:
    printed = output([sys.executable, str(EXAMPLES / "python" / "embed.py")], mesh_address)
    assert_alike(printed)


def test_the_python_example_plays_an_environment_that_is_learned(mesh_address: str) -> None:
    script = str(EXAMPLES / "python" / "policy.py")
    printed = output([sys.executable, script, "CartPole-v1", "800"], mesh_address)
    assert "after 800 steps of CartPole-v1" in printed


@needs_node
def test_the_node_example_streams_an_answer(mesh_address: str) -> None:
    script = str(EXAMPLES / "node" / "generate.js")
    printed = output([str(NODE), script, "What is the capital of France?"], mesh_address)
    assert "Paris" in printed
    assert "tokens read" in printed


@needs_node
def test_the_node_example_compares_texts(mesh_address: str) -> None:
    printed = output([str(NODE), str(EXAMPLES / "node" / "embed.js")], mesh_address)
    assert_alike(printed)


@needs_node
def test_the_node_environment_learns_its_corridor(mesh_address: str) -> None:
    printed = output([str(NODE), str(EXAMPLES / "node" / "policy.js"), "1500"], mesh_address)
    assert "an episode takes 9 (the least is 9)" in printed


def assert_alike(printed: str) -> None:
    """Each line begins with the cosine to the first text: itself, a near one, a far one."""
    itself, near, far = (float(line.split()[0]) for line in printed.splitlines())
    assert itself == pytest.approx(1, abs=1e-3)
    assert near > 0.5 > far
