"""Who takes turns: a process each, which runs while it is measured and is halted while others are."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks import quiet
from benchmarks.figures import Wave
from benchmarks.peers import places
from benchmarks.peers.models import PROGRAMS
from services.kit import launcher

T = TypeVar("T")
STOP_SECONDS = 20.0
_DIES_WITH_US = (sys.executable, "-I", "-S", launcher.__file__)


class ContestantError(Exception):
    """A contestant does not start or has failed; the sentence says how."""


class Generator(Protocol):
    """Answers waves of prompts."""

    name: str

    def wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        """Send all prompts at once, and return when the tokens came; each answer has `new_tokens`."""

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Have the cores for as long as this is open."""

    def close(self) -> None:
        """End."""


class Process:
    """A process that is halted from its start's end on, but for its turns."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        variables: Mapping[str, str] | None = None,
        *,
        talks: bool = False,
    ) -> None:
        """Start it; one that `talks` has pipes as standard input and output, others only write a log."""
        self.name = name
        self._log = log
        pipe = subprocess.PIPE if talks else None
        with log.open("wb") as written:
            self.running = subprocess.Popen(
                [*_DIES_WITH_US, str(os.getpid()), *command],
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or written,
                stderr=written,
                env={**_environment(), **(variables or {})},
            )

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run."""
        quiet.resume(self.running.pid)
        try:
            yield
        finally:
            quiet.halt(self.running.pid)

    def close(self) -> None:
        """End it and what it has started."""
        family = quiet.family(self.running.pid)
        quiet.resume(self.running.pid)
        self.running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(STOP_SECONDS)
        for each in family:
            with contextlib.suppress(Exception):
                each.kill()

    def failed(self, what: str) -> ContestantError:
        """End it, and return the error that says what it did, with its log's last lines."""
        self.close()
        lines = self._log.read_text(errors="replace").strip().splitlines()[-4:]
        return ContestantError(f"{self.name} {what}: {' / '.join(lines)}")


class Program(Process):
    """One that speaks as benchmarks/peers/programs/turns.py: a job a line in, an answer a line out."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        super().__init__(name, command, log, talks=True)
        self._answer()

    def ask(self, **job: Any) -> Any:
        """Return its answer to a job; raises ContestantError when it has ended instead."""
        assert self.running.stdin is not None
        try:
            self.running.stdin.write(json.dumps(job).encode() + b"\n")
            self.running.stdin.flush()
        except BrokenPipeError as error:
            raise self.failed("has ended") from error
        return self._answer()

    def _answer(self) -> Any:
        assert self.running.stdout is not None
        for line in self.running.stdout:
            if line.startswith(b'{"answer": '):
                return json.loads(line)["answer"]
        raise self.failed("has ended")


class ProgramGenerator(Program):
    """A program that generates."""

    def wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        """As the protocol has it."""
        return Wave(self.ask(prompts=[list(each) for each in prompts], new_tokens=new_tokens))


def in_order(everyone: Sequence[T], number: int) -> list[T]:
    """Return who has a turn in a round, one after another: each round begins with another one."""
    first = number % len(everyone)
    return [*everyone[first:], *everyone[:first]]


def program(name: str, *arguments: str | Path, peer: str = "") -> list[str]:
    """Return the command of a program of benchmarks/peers/programs; `peer` "" is our own environment."""
    python = places.python(peer) if peer else sys.executable
    return [str(python), str(PROGRAMS / name), *map(str, arguments)]


def _environment() -> Mapping[str, str]:
    """Return the variables that peers get: none that would lead them into our environment."""
    ours = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    kept = {key: value for key, value in os.environ.items() if key not in ours}
    return {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
