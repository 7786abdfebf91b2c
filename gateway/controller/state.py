"""What outlives the controller: one JSON file, replaced whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.controller.ledger import Entry
from gateway.controller.table import ModelState, Overrides, Task

FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """What a controller that starts must know of the one before."""

    revision: int = 0
    overrides: Overrides = field(default_factory=Overrides)
    writes: tuple[Entry, ...] = ()
    models: Mapping[str, tuple[ModelState, ...]] = field(default_factory=dict)
    """What each worker had, by its address: known at once, and not ready until the worker says so."""


class StateError(SystemExit):
    """The file cannot be read. Uncaught, its sentence ends the process."""


class StateFile:
    """The file. Saving is complete or has not happened, also across a power cut."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Saved:
        """Return what was saved last, or nothing yet; raises StateError for a file that is not ours."""
        try:
            return _decode(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return Saved()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{self._path}, which holds what operators decided, cannot be read ({error!r}). Move it away "
                "to start without that, or name another folder by TRUNKLINE_STATE."
            ) from error

    def save(self, saved: Saved) -> None:
        """Replace what was saved. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("w") as file:
            json.dump(_encode(saved), file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        _sync_folder(self._path.parent)


def _sync_folder(path: Path) -> None:
    """Make the rename itself durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _encode(saved: Saved) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "revision": saved.revision,
        "shares": {model: dict(shares) for model, shares in saved.overrides.shares.items()},
        "drained": sorted(saved.overrides.drained),
        "writes": [asdict(entry) for entry in saved.writes],
        "models": {
            address: [_encode_model(state) for state in states] for address, states in saved.models.items()
        },
    }


def _encode_model(state: ModelState) -> dict[str, Any]:
    return {**asdict(replace(state, ready_since=None, ready=False)), "task": str(state.task)}


def _decode(content: dict[str, Any]) -> Saved:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, not {FORMAT}")
    return Saved(
        revision=int(content["revision"]),
        overrides=Overrides(content["shares"], frozenset(content["drained"])),
        writes=tuple(Entry(**entry) for entry in content["writes"]),
        models={
            address: tuple(_decode_model(state) for state in states)
            for address, states in content["models"].items()
        },
    )


def _decode_model(state: dict[str, Any]) -> ModelState:
    return ModelState(**{**state, "task": Task(state["task"])})
