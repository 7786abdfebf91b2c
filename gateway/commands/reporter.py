"""How `trunkline up` says what it does: bars at a terminal, lines elsewhere, JSON for machines."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from trunkline.worker.v1.worker_pb2 import ModelState, ModelStatus

LINE_STEP = 0.25  # without a terminal, a line each quarter of the way


class Reporter(Protocol):
    """Told what happens, once each."""

    def say(self, event: str, sentence: str, **fields: Any) -> None:
        """Something has happened: `event` and `fields` for machines, `sentence` for people."""

    def model(self, worker: str, status: ModelStatus) -> None:
        """Say what a worker's model does."""

    def close(self) -> None:
        """Let nothing move any more: the mesh is ready, or gone."""


def reporter(*, as_json: bool) -> Reporter:
    """Return the reporter that suits standard output."""
    if as_json:
        return Json()
    return Bars() if sys.stdout.isatty() else Lines()


class Json:
    """One object a line."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], ModelStatus] = {}

    def say(self, event: str, sentence: str, **fields: Any) -> None:
        """Print the event."""
        _print(json.dumps({"event": event, "message": sentence, **fields}, ensure_ascii=False))

    def model(self, worker: str, status: ModelStatus) -> None:
        """Print what the model does, unless the last line said so."""
        last = self._said.get((worker, status.model), ModelStatus())
        if (last.state, last.progress, last.message) != (status.state, status.progress, status.message):
            self._said[worker, status.model] = status
            fields = {"worker": worker, "model": status.model, "progress": round(status.progress, 3)}
            self.say("model", status.message, state=_state(status), **fields)

    def close(self) -> None:
        """Nothing is open."""


class Lines:
    """One line a happening; a model's progress by quarters."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[str, int]] = {}

    def say(self, event: str, sentence: str, **fields: Any) -> None:  # noqa: ARG002 - for machines
        """Print the sentence."""
        _print(sentence)

    def model(self, worker: str, status: ModelStatus) -> None:
        """Print what the model does, unless the last line said so."""
        key, step = (worker, status.model), int(status.progress / LINE_STEP)
        if self._said.get(key) != (_state(status), step):
            self._said[key] = (_state(status), step)
            _print(f"{worker}  {status.progress:4.0%}  {_words(status)}")

    def close(self) -> None:
        """Nothing is open."""


class Bars:
    """One bar a model of a worker, gone when it has been said that all are ready."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            console=console or Console(),
            transient=True,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def say(self, event: str, sentence: str, **fields: Any) -> None:  # noqa: ARG002 - for machines
        """Print the sentence above the bars."""
        with suppress(OSError):
            self._progress.console.print(escape(sentence), highlight=False, soft_wrap=True)

    def model(self, worker: str, status: ModelStatus) -> None:
        """Move the model's bar."""
        self._progress.start()
        key = (worker, status.model)
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task("", total=1.0)
        done = 1.0 if status.state == ModelState.MODEL_STATE_READY else status.progress
        words = escape(f"{worker}  {_words(status)}")
        self._progress.update(self._tasks[key], completed=done, description=words)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()


def _state(status: ModelStatus) -> str:
    return ModelState.Name(status.state).removeprefix("MODEL_STATE_").lower()


def _words(status: ModelStatus) -> str:
    detail = f": {status.message}" if status.message else ""
    return f"{status.model}  {_state(status)}{detail}"


def _print(line: str) -> None:
    """Print at once: a reader may be waiting for it. One that has gone is no reason to stop."""
    with suppress(OSError):
        print(line, flush=True)
