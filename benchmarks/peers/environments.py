"""Makes a peer's virtual environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import places
from benchmarks.peers.recipes import CUDA_ONLY, TORCH, Recipe

LAST_LINES = 4  # of a failed command's output, which are kept as the reason


class BuildError(Exception):
    """A peer cannot be built here; the sentence says why."""


def build(recipe: Recipe) -> None:
    """Make the environment of `recipe` anew; raises BuildError with what pip or the proof said."""
    where = places.folder(recipe.name)
    shutil.rmtree(where, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(where)])
    if recipe.torch:
        pip(recipe.name, "install", TORCH)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join([*recipe.constraints, *([TORCH] if recipe.torch else [])]))
        constraints.flush()
        pip(recipe.name, "install", "--constraint", constraints.name, *recipe.requirements)
    pip(recipe.name, "uninstall", "--yes", *CUDA_ONLY)
    run([str(places.python(recipe.name)), "-c", recipe.proof])


def pip(peer: str, *arguments: str) -> None:
    """Run pip in a peer's environment; raises BuildError."""
    run([str(places.python(peer)), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


def run(command: Sequence[str], folder: Path | None = None) -> None:
    """Run a command to its end; raises BuildError with the last lines that it wrote."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise BuildError(f"{' '.join(command)[:200]}: {' / '.join(lines[-LAST_LINES:])}")
