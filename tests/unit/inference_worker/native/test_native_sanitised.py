"""No step reads or writes where it must not, nor does what C++ leaves undefined."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.inference_worker.engine.native import building

_SANITISERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_PROGRAM = "tests.unit.inference_worker.native.sanitised"
_LIMIT_S = 600


def _runtime(name: str) -> str | None:
    """Return the path of a runtime library of the compiler, or None where it has none."""
    command = building.compiler()
    if command is None:
        return None
    told = subprocess.run([command, f"-print-file-name={name}"], capture_output=True, text=True, check=False)
    path = Path(told.stdout.strip())
    return str(path) if path.is_absolute() and path.exists() else None


@pytest.mark.timeout(2 * _LIMIT_S)
def test_steps_of_every_kind_are_clean_under_address_and_undefined_behaviour_sanitisers(tmp_path: Path):
    # The second, too, or else the first does not find how exceptions are thrown.
    runtimes = [found for name in ("libasan.so", "libstdc++.so.6") if (found := _runtime(name))]
    if len(runtimes) < 2:
        pytest.skip("the compiler has no address sanitizer")
    library = building.build(tmp_path / "made", ("-O1", "-g1", *_SANITISERS))
    assert library is not None
    (tmp_path / "packed").mkdir()
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
        "TRUNKLINE_NATIVE_LIBRARY": str(library),
    }
    done = subprocess.run(
        [sys.executable, "-m", _PROGRAM, str(tmp_path / "packed")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout == "clean\n"
