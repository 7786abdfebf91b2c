"""What a worker's stream brings for one call waits there as one, and comes out in its order."""

from __future__ import annotations

import asyncio

import pytest
from trunkline.worker.v1.worker_pb2 import EmbedResponse

from gateway.front.calls import TokenDelta
from gateway.front.inbox import Inbox
from services.kit.errors import Reason, Unavailable


async def test_tokens_that_wait_are_taken_as_one_and_the_last_word_after_them() -> None:
    inbox, last = Inbox(60.0), EmbedResponse()
    inbox.made([1])
    inbox.made([2, 3])
    inbox.weighed(["p2", "p3"])
    inbox.ended(last)
    assert await inbox.take() == TokenDelta([1, 2, 3], ["p2", "p3"])
    assert await inbox.take() is last
    assert await inbox.take() is last
    inbox.close()


async def test_tokens_come_before_the_error_that_followed_them() -> None:
    inbox = Inbox(60.0)
    inbox.made([1])
    inbox.ended(Unavailable(Reason.ENGINE_LOST, "gone"))
    assert await inbox.take() == TokenDelta([1], [])
    with pytest.raises(Unavailable):
        await inbox.take()
    inbox.close()


async def test_silence_after_a_token_is_an_error_and_before_it_is_not() -> None:
    inbox = Inbox(0.0)
    reading = asyncio.create_task(inbox.take())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    inbox.made([1])
    assert await reading == TokenDelta([1], [])
    with pytest.raises(Unavailable) as stalled:
        await inbox.take()
    assert stalled.value.reason == Reason.STREAM_STALLED
    inbox.close()
