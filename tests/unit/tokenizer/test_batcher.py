from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kit.errors import Reason, ResourceExhausted, Unavailable, invalid
from services.tokenizer.batcher import Batcher, QueueLimits

LIMITS = QueueLimits(calls=4, characters=100, batch_characters=20)


class Work:
    """Doubles numbers once it may; remembers its batches. 13 fails alone, 666 fails in company."""

    def __init__(self) -> None:
        self.started = Event()
        self.gate = Event()
        self.batches: list[list[int]] = []
        self.abandoned: list[bool] = []

    def run(self, jobs: Sequence[int], abandoned: Callable[[], bool]) -> list[int | BaseException]:
        self.batches.append(list(jobs))
        self.started.set()
        assert self.gate.wait(10)
        self.abandoned.append(abandoned())
        if 666 in jobs:
            raise BaseException("a panic")  # noqa: TRY002 - as Rust's panics arrive
        return [invalid("job", "must not be 13") if job == 13 else 2 * job for job in jobs]


class Desk:
    """A batcher, the work behind it and the spans it makes."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = provider.get_tracer("test")
        self.work = Work()
        self.batcher: Batcher[int, int] = Batcher(
            "mine", self.work.run, limits=LIMITS, executor=executor, tracer=self.tracer
        )

    async def busy(self) -> asyncio.Task[int]:
        """Return a call whose batch runs until the gate opens."""
        task = self.submit(1)
        assert await asyncio.to_thread(self.work.started.wait, 10)
        return task

    def submit(self, job: int, size: int = 1) -> asyncio.Task[int]:
        return asyncio.create_task(self.batcher.submit(job, size))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    with ThreadPoolExecutor(2) as executor:
        desk = Desk(executor)
        yield desk
        desk.work.gate.set()
        await desk.batcher.close()


async def submitted(desk: Desk, *jobs: int, size: int = 1) -> list[asyncio.Task[int]]:
    tasks = [desk.submit(job, size) for job in jobs]
    await asyncio.sleep(0)  # each has run up to its wait
    return tasks


async def test_what_arrives_while_a_batch_runs_is_the_next_batch(desk: Desk) -> None:
    first = await desk.busy()
    others = await submitted(desk, 2, 3, 4)
    desk.work.gate.set()

    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert desk.work.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_no_larger_than_its_limit_unless_one_job_is(desk: Desk) -> None:
    first = await desk.busy()
    others = [*await submitted(desk, 2, 3, size=15), *await submitted(desk, 4, size=50)]
    desk.work.gate.set()

    await asyncio.gather(first, *others)
    assert desk.work.batches == [[1], [2], [3], [4]]


async def test_a_cancelled_call_never_reaches_the_library(desk: Desk) -> None:
    first = await desk.busy()
    gone, stays = await submitted(desk, 2, 3)
    gone.cancel()
    await asyncio.wait([gone])
    desk.work.gate.set()

    assert await asyncio.gather(first, stays) == [2, 6]
    assert desk.work.batches == [[1], [3]]


async def test_work_that_runs_learns_that_nobody_waits_any_more(desk: Desk) -> None:
    first = await desk.busy()
    first.cancel()
    await asyncio.wait([first])
    desk.work.gate.set()
    assert await desk.batcher.submit(2, 1) == 4  # the next batch, so the first one has ended
    assert desk.work.batches == [[1], [2]]
    assert desk.work.abandoned == [True, False]


async def test_a_full_queue_refuses_at_once(desk: Desk) -> None:
    first = await desk.busy()
    waiting = await submitted(desk, 2, 3, 4, 5)
    with pytest.raises(ResourceExhausted) as refused:
        await desk.batcher.submit(6, 1)
    desk.work.gate.set()

    assert refused.value.reason == Reason.QUEUE_FULL
    assert refused.value.metadata == {"model": "mine", "limit": "4"}
    assert refused.value.retry_after
    assert await asyncio.gather(first, *waiting) == [2, 4, 6, 8, 10]


async def test_a_queue_full_of_text_refuses_but_takes_one_text_of_any_size(desk: Desk) -> None:
    first = await desk.busy()
    large = await submitted(desk, 2, size=1_000)
    with pytest.raises(ResourceExhausted):
        await desk.batcher.submit(3, 1)
    desk.work.gate.set()
    assert await asyncio.gather(first, *large) == [2, 4]


async def test_calls_that_went_away_leave_their_places(desk: Desk) -> None:
    first = await desk.busy()
    gone = await submitted(desk, 2, 3, 4, 5)
    for each in gone:
        each.cancel()
    await asyncio.wait(gone)
    taken = await submitted(desk, 6)
    desk.work.gate.set()
    assert await asyncio.gather(first, *taken) == [2, 12]


async def test_a_job_that_fails_fails_alone(desk: Desk) -> None:
    first = await desk.busy()
    others = await submitted(desk, 13, 2)
    desk.work.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)

    assert results[0::2] == [2, 4]
    assert str(results[1]) == "job must not be 13"


async def test_a_panic_is_one_calls_fault_and_the_next_batch_runs(desk: Desk) -> None:
    first = await desk.busy()
    others = await submitted(desk, 666, 2)
    desk.work.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)

    assert results[0::2] == [2, 4]
    assert isinstance(results[1], RuntimeError)
    assert await desk.batcher.submit(5, 1) == 10


async def test_closing_refuses_what_waits_and_what_comes(desk: Desk) -> None:
    first = await desk.busy()
    waiting = await submitted(desk, 2)
    closing = asyncio.create_task(desk.batcher.close())
    results = await asyncio.gather(first, *waiting, return_exceptions=True)
    desk.work.gate.set()
    await closing

    assert [result.reason for result in results] == [Reason.DRAINING, Reason.DRAINING]
    with pytest.raises(Unavailable):
        await desk.batcher.submit(3, 1)


async def test_a_batch_that_joins_calls_is_a_span_with_a_link_to_each(desk: Desk) -> None:
    first = await desk.busy()

    async def call(job: int) -> int:
        with desk.tracer.start_as_current_span(f"call {job}"):
            return await desk.batcher.submit(job, 1)

    calls = [asyncio.create_task(call(job)) for job in (2, 3)]
    await asyncio.sleep(0)
    desk.work.gate.set()
    await asyncio.gather(first, *calls)

    spans = {span.name: span for span in desk.spans.get_finished_spans()}
    batch = spans["batch.execute"]
    assert len([span for span in desk.spans.get_finished_spans() if span.name == "batch.execute"]) == 1
    assert batch.parent is None
    assert batch.attributes["trunkline.batch.size"] == 2
    linked = {link.context.span_id for link in batch.links}
    assert linked == {spans["call 2"].context.span_id, spans["call 3"].context.span_id}
