"""The monitor put together: what comes in by OTLP and by watching, what goes out by gRPC and HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from trunkline.monitor.v1.monitor_pb2_grpc import add_MonitorServiceServicer_to_server

from services.kit.channel import Channels
from services.kit.mesh import entry, owner
from services.kit.server import Server
from services.monitor.drops import Drops
from services.monitor.exposition import Exposition
from services.monitor.http import HttpDoor
from services.monitor.metrics import MetricLimits, MetricStore
from services.monitor.otlp.receiver import (
    METRICS,
    TRACES,
    Receiver,
    add_metrics_to_server,
    add_traces_to_server,
)
from services.monitor.picture import Observer
from services.monitor.roster import Health, Peer, Roster
from services.monitor.service import MonitorServicer
from services.monitor.settings import MonitorSettings
from services.monitor.traces import TraceLimits, TraceRing
from services.monitor.watches import Target, Watches

WORKER = owner("trunkline.worker.v1.WorkerService").name


class Monitor:
    """Watches and answers HTTP within `async with`; `register` puts its services on a server.

    `clock` gives seconds that never go back, `wall_ns` the Unix time in nanoseconds.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        channels: Channels,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        drops = Drops()
        store = MetricStore(clock, wall_ns(), drops, MetricLimits(series=settings.monitor_series))
        limits = TraceLimits(traces=settings.monitor_traces, total_bytes=settings.monitor_trace_bytes)
        ring = TraceRing(drops, limits)
        roster = Roster()
        roster.add(Peer(entry("monitor").name, settings.listen, Health.SERVING))
        self.http = HttpDoor(settings.metrics_http, Exposition(store, ring, drops), ring)
        self._watches = Watches(_targets(settings), roster, channels)
        self._receiver = Receiver(store, ring, drops)
        self._servicer = MonitorServicer(Observer(store, roster, WORKER), ring, wall_ns)
        self._running = AsyncExitStack()

    def register(self, server: Server) -> None:
        """Add MonitorService and OTLP's services to `server`."""
        server.add(
            "trunkline.monitor.v1.MonitorService", add_MonitorServiceServicer_to_server, self._servicer
        )
        server.add(METRICS, add_metrics_to_server, self._receiver)
        server.add(TRACES, add_traces_to_server, self._receiver)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            await starting.enter_async_context(self.http)
            await starting.enter_async_context(self._watches)
            self._running = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()


def _targets(settings: MonitorSettings) -> list[Target]:
    known = [
        Target(owner("trunkline.tokenizer.v1.TokenizerService").name, settings.tokenizer),
        Target(owner("trunkline.recommender.v1.RecommenderService").name, settings.recommender),
        Target(owner("trunkline.policy.v1.PolicyService").name, settings.rl_policy),
        Target(owner("trunkline.control.v1.ControlService").name, settings.controller),
        *(Target(WORKER, target, is_worker=True) for target in settings.workers),
    ]
    return [each for each in known if each.target]
