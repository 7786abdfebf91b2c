"""What an engine says waits for its reader, and leaves as one."""

from __future__ import annotations

import asyncio

import pytest

from services.inference_worker.mailbox import Mailboxes
from services.inference_worker.wire import Finish, Output, Timings
from services.kit.errors import DeadlineExceeded, Internal, Reason, Unavailable

FINISH = Finish("length", Timings(1.0, 2.0, 3.0))


async def test_all_that_waits_is_taken_at_once():
    boxes = Mailboxes()
    box = boxes.open(1, "m")
    boxes.deliver(Output(1, [4]))
    boxes.deliver(Output(1, [5, 6]))
    assert (await box.take()).tokens == [4, 5, 6]
    boxes.deliver(Output(1, [7], finish=FINISH))
    last = await box.take()
    assert (last.tokens, last.finish) == ([7], FINISH)
    assert boxes.count("m") == 0


async def test_a_reader_waits_for_something():
    boxes = Mailboxes()
    box = boxes.open(1, "m")
    reading = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    assert not reading.done()
    boxes.deliver(Output(1, [4]))
    async with asyncio.timeout(1):
        assert (await reading).tokens == [4]


@pytest.mark.parametrize(("failure", "error"), [("deadline", DeadlineExceeded), ("fault", Internal)])
async def test_a_failure_is_raised_and_ends_the_request(failure: str, error: type[Exception]):
    boxes = Mailboxes()
    box = boxes.open(1, "m")
    boxes.deliver(Output(1, failure=failure))  # type: ignore[arg-type]
    with pytest.raises(error):
        await box.take()
    assert boxes.count("m") == 0


async def test_when_the_engine_is_lost_everybody_hears_of_it():
    boxes = Mailboxes()
    readers = [asyncio.create_task(boxes.open(number, "m").take()) for number in range(3)]
    await asyncio.sleep(0)
    boxes.fail(Unavailable(Reason.ENGINE_LOST, "gone"))
    async with asyncio.timeout(1):
        heard = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in heard)
    assert boxes.count("m") == 0


async def test_what_comes_for_somebody_who_left_is_dropped():
    boxes = Mailboxes()
    boxes.open(1, "m")
    assert boxes.close(1)
    assert not boxes.close(1)
    boxes.deliver(Output(1, [4]))


async def test_a_model_is_empty_when_its_last_request_has_ended():
    boxes = Mailboxes()
    for number, model in ((1, "m"), (2, "m"), (3, "other")):
        boxes.open(number, model)
    waiting = asyncio.create_task(boxes.empty("m"))
    boxes.close(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    boxes.close(2)
    async with asyncio.timeout(1):
        await waiting
