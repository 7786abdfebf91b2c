"""Model versions: what was trained when, from what, how good it is, and which one serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.recommender.store.database import Database


class Stage(StrEnum):
    """What a version is good for."""

    CANDIDATE = "candidate"
    """Trained, not yet promoted."""
    LIVE = "live"
    """The one that serves; at most one a model."""
    RETIRED = "retired"
    """Was live; a rollback may bring it back."""
    FAILED = "failed"
    """Its files are broken or it did not pass a gate; never served again."""


@dataclass(frozen=True)
class Version:
    """One trained version. Its folder holds manifest.json and the arrays; it is never changed."""

    name: str
    model: str = "default"
    """What it is a version of: scenarios name models."""
    stage: Stage = Stage.CANDIDATE
    created: float = 0.0
    promoted: float = 0.0
    """When it last became live; 0: never."""
    sequence: int = 0
    """The last event that it was trained from."""
    note: str = ""
    """Why it failed or was rolled back."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """As in manifest.json: kinds, hyper-parameters, metrics, data, digests."""
    erased_since: int = 0
    """How many users whose events it was trained from have been erased since: it must be trained again."""


class Registry:
    """The versions of all models. The folders stand under `folder`, one a version."""

    folder: Path

    def __init__(self, database: Database, folder: Path) -> None: ...

    def path(self, name: str) -> Path:
        """Return the folder of a version."""
        raise NotImplementedError

    async def add(self, version: Version) -> None:
        """Enter a version whose folder is complete. Raises AlreadyExists, InvalidArgument (its name)."""
        raise NotImplementedError

    async def get(self, name: str) -> Version:
        """Return the version; raises NotFound (VERSION_NOT_FOUND)."""
        raise NotImplementedError

    async def list(self, model: str = "") -> list[Version]:
        """Return the versions of a model, or of all, the newest first."""
        raise NotImplementedError

    async def live(self, model: str = "default") -> Version | None:
        """Return the version that serves."""
        raise NotImplementedError

    async def good(self, model: str = "default") -> list[Version]:
        """Return what may serve and has its files here: the live one, then those that were, newest first."""
        raise NotImplementedError

    async def promote(self, name: str) -> Version:
        """Make a version live and retire the one that was. Raises NotFound, FailedPrecondition (it failed)."""
        raise NotImplementedError

    async def rollback(self, model: str = "default", note: str = "") -> Version:
        """Make the version live that was so before; the one that is becomes FAILED with the note.

        Raises FailedPrecondition where there is none to go back to.
        """
        raise NotImplementedError

    async def fail(self, name: str, note: str) -> None:
        """Mark a version as not to be served."""
        raise NotImplementedError

    async def prune(self, keep: int = 5) -> list[str]:
        """Delete all but the live version and the `keep` newest of each model, files too; return their names."""
        raise NotImplementedError
