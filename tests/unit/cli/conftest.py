"""Each test of a command has a mesh of its own at TRUNKLINE_ADDRESS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway import cli
from tests.unit.cli.double import Double, serving


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    double = Double()
    with serving(double) as address:
        monkeypatch.setenv("TRUNKLINE_ADDRESS", address)
        yield double


@pytest.fixture
def trunkline(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process; returns its exit status and what it printed."""

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
