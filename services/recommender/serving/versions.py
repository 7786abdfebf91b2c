"""The versions of the models: which is loaded, which one serves, how one takes another's place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from services.kit.errors import FailedPrecondition, Reason, TrunklineError
from services.recommender.serving.gate import check
from services.recommender.serving.operations import Gate
from services.recommender.serving.served import Served
from services.recommender.store.registry import Registry, Stage, Version

_LOGGER = logging.getLogger(__name__)
_FOLLOW_S = 1.0
Load = Callable[[Version], Served]
"""Reads a version's folder; blocks. Raises FailedPrecondition (VERSION_UNUSABLE) where it cannot be used."""


class Versions:
    """Loads versions beside the one that serves and swaps them in one step. Made by `Serving`."""

    def __init__(self, registry: Registry, load: Load) -> None:
        self._registry = registry
        self._load = load
        self._served: Served | None = None
        self._metrics: Version | None = None
        self._listeners: list[Callable[[], None]] = []
        self._changing = asyncio.Lock()

    @property
    def served(self) -> Served | None:
        """What answers now."""
        return self._served

    @property
    def live(self) -> str:
        """The version that serves; empty: none is trained."""
        return self._served.version if self._served else ""

    @property
    def promoted(self) -> float:
        """When the live version began to serve, in Unix seconds; 0: none does."""
        return self._metrics.promoted if self._metrics else 0.0

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when another version serves."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Serve the newest good version: one whose files are broken is marked and the one before it taken."""
        for version in await self._registry.good():
            try:
                served = await self._read(version)
            except FailedPrecondition:
                await self._registry.fail(version.name, "its files cannot be read")
                continue
            if version.stage is not Stage.LIVE:
                version = await self._registry.promote(version.name)  # noqa: PLW2901 - the same, later
            self._swap(served, version)
            return

    async def promote(self, version: str, gate: Gate | None = None) -> None:
        """Serve `version` from the next answer on.

        Raises NotFound (VERSION_NOT_FOUND), FailedPrecondition (GATE_FAILED, with metric, value and bound in
        the metadata; VERSION_UNUSABLE where it failed or cannot be read): then the live one goes on.
        """
        async with self._changing:
            found = await self._registry.get(version)
            if gate is not None:
                before = self._metrics.manifest if self._metrics else {}
                check(gate, found.manifest.get("metrics", {}), before.get("metrics", {}))
            served = await self._read(found)
            self._swap(served, await self._registry.promote(version))

    async def rollback(self) -> str:
        """Serve the version that was live before; return its name.

        Raises FailedPrecondition (VERSION_UNUSABLE) where there is none, or its files cannot be read.
        """
        async with self._changing:
            found = await self._registry.rollback()
            self._swap(await self._read(found), found)
            return found.name

    async def follow(self) -> None:
        """Serve what other replicas promote, until cancelled."""
        while True:
            await asyncio.sleep(_FOLLOW_S)
            try:
                await self._catch_up()
            except (TrunklineError, OSError) as error:
                _LOGGER.warning("the live version cannot be followed", extra={"error": str(error)})

    async def _catch_up(self) -> None:
        async with self._changing:
            live = await self._registry.live()
            if live is not None and live.name != self.live:
                self._swap(await self._read(live), live)

    async def _read(self, version: Version) -> Served:
        try:
            return await asyncio.to_thread(self._load, version)
        except (FailedPrecondition, OSError, ValueError, KeyError) as error:
            _LOGGER.warning("a version cannot be used", extra={"version": version.name, "error": str(error)})
            message = f"The files of version {version.name!r} cannot be used."
            metadata = {"version": version.name}
            raise FailedPrecondition(Reason.VERSION_UNUSABLE, message, metadata=metadata) from error

    def _swap(self, served: Served, version: Version) -> None:
        self._served, self._metrics = served, version
        _LOGGER.info("a version serves", extra={"version": version.name})
        for listener in self._listeners:
            listener()
