"""What an engine says of a request goes to who waits for it, and to nobody once that is over."""

from __future__ import annotations

import asyncio

import pytest

from services.inference_worker.mailbox import Mailboxes
from services.inference_worker.wire import Finish, Output, Timings
from services.kit.errors import DeadlineExceeded, Internal, Reason, TrunklineError, Unavailable

FINISH = Finish("length", Timings(1.0, 2.0, 3.0))


class Box:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.errors: list[TrunklineError] = []

    def deliver(self, output: Output) -> None:
        self.outputs.append(output)

    def fail(self, error: TrunklineError) -> None:
        self.errors.append(error)


def opened(boxes: Mailboxes, *ids: int, model: str = "m") -> list[Box]:
    found = [Box() for _ in ids]
    for request_id, box in zip(ids, found, strict=True):
        boxes.open(request_id, model, box)
    return found


def test_outputs_go_to_their_own_box_and_the_last_one_closes_it():
    boxes = Mailboxes()
    first, second = opened(boxes, 1, 2)
    outputs = [Output(1, [4]), Output(2, [9]), Output(1, [5], finish=FINISH), Output(1, [6])]
    for output in outputs:
        boxes.deliver(output)
    assert first.outputs == [outputs[0], outputs[2]]
    assert second.outputs == [outputs[1]]
    assert boxes.count("m") == 1


@pytest.mark.parametrize(("failure", "error"), [("deadline", DeadlineExceeded), ("fault", Internal)])
def test_a_failure_ends_the_request(failure: str, error: type[Exception]):
    boxes = Mailboxes()
    (box,) = opened(boxes, 1)
    boxes.deliver(Output(1, failure=failure))  # type: ignore[arg-type]
    assert [type(each) for each in box.errors] == [error]
    assert not box.outputs
    assert boxes.count("m") == 0


def test_when_the_engine_is_lost_everybody_hears_of_it():
    boxes = Mailboxes()
    all_of_them = opened(boxes, 1, 2, 3)
    boxes.fail(Unavailable(Reason.ENGINE_LOST, "gone"))
    assert [error.reason for box in all_of_them for error in box.errors] == [Reason.ENGINE_LOST] * 3
    assert boxes.count("m") == 0


def test_what_comes_for_somebody_who_left_is_dropped():
    boxes = Mailboxes()
    (box,) = opened(boxes, 1)
    assert boxes.close(1)
    assert not boxes.close(1)
    boxes.deliver(Output(1, [4]))
    assert not box.outputs


async def test_a_model_is_empty_when_its_last_request_has_ended():
    boxes = Mailboxes()
    opened(boxes, 1, 2)
    opened(boxes, 3, model="other")
    waiting = asyncio.create_task(boxes.empty("m"))
    boxes.close(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    boxes.close(2)
    async with asyncio.timeout(30):
        await waiting
