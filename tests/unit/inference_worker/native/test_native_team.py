"""The team of threads does every chunk once, without a race: a driver in C++ under the thread sanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from services.inference_worker.engine.native import building

_DRIVER = Path(__file__).with_name("team_driver.cpp")


@pytest.mark.parametrize("flags", [["-O2"], ["-O1", "-fsanitize=thread"]], ids=["plain", "sanitised"])
def test_every_chunk_is_done_once(tmp_path: Path, flags: list[str]):
    command = building.compiler()
    if command is None:
        pytest.skip("no compiler")
    program = tmp_path / "driver"
    sources = [f"-I{building.SOURCES}", str(_DRIVER), str(building.SOURCES / "team.cpp")]
    made = subprocess.run(
        [command, *building.PLAIN, *flags, *sources, "-o", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "-fsanitize=thread" in flags and made.returncode != 0:
        pytest.skip("the compiler has no thread sanitizer")
    assert made.returncode == 0, made.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=110, check=False)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("this system's memory layout is not for the thread sanitizer")
    assert (done.returncode, done.stdout) == (0, "every chunk once\n"), done.stderr[-4000:]
