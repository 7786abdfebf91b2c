"""Which workers belong to the mesh: looked up again and again, each followed by its status stream."""

from __future__ import annotations

import asyncio
import logging

from gateway.controller.board import Board
from gateway.controller.worker_client import WorkerClient, WorkerReport
from gateway.following import Follower
from services.kit.addresses import Addresses
from services.kit.channel import Channels

# A worker reports once a second; one that is silent for longer is frozen, whatever its connection says.
SILENCE_S = 3.5

_LOGGER = logging.getLogger(__name__)


class Roster:
    """Keeps one watch a worker and tells the board what each says.

    `channels` are for watches: their calls are not observed.
    """

    def __init__(self, addresses: Addresses, board: Board, channels: Channels, *, interval_s: float) -> None:
        self._addresses = addresses
        self._board = board
        self._channels = channels
        self._interval_s = interval_s
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look names up every `interval_s` seconds, and watch whom they stand for, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                await self.refresh()
        finally:
            await self.close()

    async def refresh(self) -> None:
        """Look names up once: begin to watch who is new, forget who has gone."""
        found = await self._addresses.resolve()
        for address in self._watches.keys() - found.keys():
            await self._dismiss(address)
        for address, endpoint in found.items():
            self._board.expect(address, endpoint)
            if address not in self._watches:
                self._watches[address] = asyncio.create_task(self._follow(address), name=f"watch {address}")

    async def close(self) -> None:
        """End all watches. Idempotent."""
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            watch.cancel()
        await asyncio.gather(*watches.values(), return_exceptions=True)

    async def restart_engines(self, address: str) -> None:
        """Have the worker at `address` start its engines anew; raises as WorkerClient does."""
        await WorkerClient(address, self._channels.to(address)).restart_engines()

    async def _follow(self, address: str) -> None:
        client = WorkerClient(address, self._channels.to(address))

        def receive(report: WorkerReport) -> None:
            self._board.observe(address, report.models, draining=report.draining)

        def lost() -> None:
            self._board.lose(address)

        await Follower(f"worker {address}", client.watch, receive, lost, silence=SILENCE_S).run()

    async def _dismiss(self, address: str) -> None:
        _LOGGER.info("a worker has left the mesh", extra={"worker": address})
        watch = self._watches.pop(address)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        self._board.forget(address)
        await self._channels.forget(address)
