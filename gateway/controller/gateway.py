"""The gateway as a whole: the board and who feeds it, Envoy and the fronts, and what the public port says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from gateway.controller.admission import Admission, SetServing
from gateway.controller.board import Board
from gateway.controller.owners import Owners
from gateway.controller.places import dialled, public_services
from gateway.controller.publisher import Publisher, endpoints
from gateway.controller.restarts import Restarts
from gateway.controller.roster import Roster
from gateway.controller.state import StateFile
from gateway.envoy.data_plane import DataPlane
from gateway.envoy.places import Places
from gateway.settings import GatewaySettings
from services.kit.addresses import Addresses, lookup
from services.kit.channel import Channels
from services.kit.child import SupervisedChild
from services.kit.mesh import entry

FRONT = (sys.executable, "-m", entry("front").module)
INFERENCE = entry("front").services[0]
STATE_FILE = "gateway.json"


class Gateway:
    """Runs Envoy and the fronts, and keeps Envoy's files and the public port's health as things are.

    `binary` is Envoy's, `folder` this run's own; `channels` are for watches: their calls are not observed.
    `set_serving` is told which public service serves, and of "": whether this gateway can route, which is so
    while Envoy is ready and any front serves. `front` is a front's command line.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        places: Places,
        *,
        binary: str,
        folder: Path,
        channels: Channels,
        set_serving: SetServing,
        front: Sequence[str] = FRONT,
    ) -> None:
        self._set_serving = set_serving
        self._answers_text = False
        self.board = Board(StateFile(settings.state / STATE_FILE), lambda: datetime.now(UTC))
        addresses = Addresses(settings.workers, lookup)
        self._roster = Roster(addresses, self.board, channels, interval_s=settings.resolve_s)
        self.envoy = DataPlane(
            places,
            binary,
            folder,
            threads=settings.envoy_threads,
            drain_s=settings.drain_s,
            on_change=self._tell_own_health,
        )
        self._admission = Admission(self.envoy, self._tell_health)
        self._owners = Owners(public_services(places), channels, self._admission.tell)
        self.publisher = Publisher(self.board, self.envoy)
        self.fronts = _fronts(settings, front)
        children = {"envoy": self.envoy.process.restart, **{each.name: each.restart for each in self.fronts}}
        self.restarts = Restarts(self.board, children, self._roster.restart_engines)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run within the context; a loop that fails ends it. Only `stop` ends the children in order."""
        await self._roster.refresh()
        await self.board.revise()
        await self.envoy.begin(endpoints(self.board.table))
        self._tell_own_health()
        async with asyncio.TaskGroup() as tasks:
            workings = (self.board, self._roster, self._owners, self.publisher)
            loops = [tasks.create_task(each.run()) for each in workings]
            try:
                await self._start_children()
                yield
            finally:
                self._admission.close()
                for loop in loops:
                    loop.cancel()

    async def stop(self) -> None:
        """Stop Envoy once its calls have ended, then the fronts, which nobody calls any more."""
        await self.envoy.process.stop()
        await asyncio.gather(*(front.stop() for front in self.fronts))

    async def _start_children(self) -> None:
        for front in self.fronts:
            await front.start()
        await self.envoy.process.start()

    def _tell_health(self, service: str, serving: bool) -> None:  # noqa: FBT001 - as kit's health has it
        self._set_serving(service, serving)
        if service == INFERENCE:
            self._answers_text = serving
            self._tell_own_health()

    def _tell_own_health(self) -> None:
        self._set_serving("", self.envoy.process.is_ready and self._answers_text)


def _fronts(settings: GatewaySettings, command: Sequence[str]) -> tuple[SupervisedChild, ...]:
    controller = dialled(settings.listen).address
    return tuple(
        SupervisedChild(
            f"front/{number}",
            command,
            env={"TRUNKLINE_LISTEN": at.address, "TRUNKLINE_CONTROLLER": controller},
        )
        for number, at in enumerate(settings.fronts)
    )
