"""What an answer's steps made waits for its caller, and leaves as one."""

from __future__ import annotations

import asyncio

import pytest

from services.inference_worker.inbox import Inbox
from services.inference_worker.under_way import Embeddings, Ending
from services.kit.errors import Reason, Unavailable

ENDING = Ending("length", 3, 4, 0.1, 0.2, 0.3)


async def test_all_that_waits_is_taken_at_once():
    inbox = Inbox()
    inbox.made([4], [])
    inbox.made([5, 6], [])
    assert (await inbox.take()).tokens == [4, 5, 6]
    inbox.made([7], [])
    inbox.ended(ENDING)
    last = await inbox.take()
    assert (last.tokens, last.ending) == ([7], ENDING)


async def test_a_caller_waits_for_something():
    inbox = Inbox()
    reading = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    inbox.made([4], [])
    async with asyncio.timeout(30):
        assert (await reading).tokens == [4]


async def test_an_error_is_raised_instead_of_what_waited():
    inbox = Inbox()
    inbox.made([4], [])
    inbox.ended(Unavailable(Reason.ENGINE_LOST, "gone"))
    with pytest.raises(Unavailable):
        await inbox.take()
    with pytest.raises(Unavailable):
        await inbox.vectors()


async def test_vectors_come_whole():
    inbox = Inbox()
    inbox.ended(Embeddings(b"1234", 1, 3))
    assert (await inbox.vectors()).values == b"1234"
