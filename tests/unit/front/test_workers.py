from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway.front.picking import Picker
from gateway.front.routes import Target, Version
from gateway.front.workers import ModelReport, WorkerReport, Workers
from services.kit.errors import Unavailable

TARGET = Target("mine", Version("1", 100, ("a:1",), "digest", 8))


def says(*, ready: bool) -> WorkerReport:
    return WorkerReport(models={("mine", "1"): ModelReport(ready=ready)})


class Reports:
    """A worker whose reports the test writes."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[WorkerReport] = asyncio.Queue()
        self.workers = Workers(self.watch, Picker(), silence=60, gone=lambda _: None)
        self.workers.follow(["a:1"])

    async def watch(self, address: str) -> AsyncGenerator[WorkerReport, None]:
        while True:
            report = await self.queue.get()
            yield report
            self.queue.task_done()


async def test_a_call_waits_for_the_report_that_agrees_with_the_routes() -> None:
    reports = Reports()
    reports.queue.put_nowait(says(ready=False))
    await reports.queue.join()
    asked = asyncio.create_task(reports.workers.model(TARGET))
    reports.queue.put_nowait(says(ready=True))
    assert (await asked).ready
    await reports.workers.close()


async def test_a_worker_that_never_agrees_is_not_waited_for_long() -> None:
    reports = Reports()
    reports.queue.put_nowait(says(ready=False))
    with pytest.raises(Unavailable):
        await reports.workers.model(TARGET)
    await reports.workers.close()
