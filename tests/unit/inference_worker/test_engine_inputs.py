"""Batches of an encoder: within the budget, the oldest request in each, no small one behind a large one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.inputs import InputQueue, Inputs


def queue_of(*requests: list[int]) -> InputQueue:
    """Return a queue of requests, numbered from 0, with inputs of these lengths."""
    queue = InputQueue()
    for number, lengths in enumerate(requests):
        queue.add(Inputs(number, [[number] * length for length in lengths]))
    return queue


def taken(queue: InputQueue, budget: int) -> list[tuple[int, list[int]]]:
    """Return each request of the next batch with the lengths of its inputs there."""
    return [(span.inputs.request, span.lengths.tolist()) for span in queue.take(budget)]


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), min_size=1, max_size=12))
def test_every_input_is_taken_once_and_the_oldest_request_is_in_each_batch(requests: list[list[int]]):
    queue = queue_of(*requests)
    waiting = dict(enumerate(map(sorted, requests)))
    while queue:
        batch = taken(queue, 64)
        lengths = [length for _, each in batch for length in each]
        assert sum(lengths) <= 64 or len(lengths) == 1
        assert batch[0][0] == min(waiting)
        for request, each in batch:
            assert waiting[request][: len(each)] == each
            waiting[request] = waiting[request][len(each) :]
        waiting = {request: left for request, left in waiting.items() if left}
        assert queue.tokens == sum(map(sum, waiting.values()))
    assert not waiting


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=5))
def test_spans_hold_the_tokens_of_their_inputs_and_say_which_they_are(requests: list[list[int]]):
    queue = InputQueue()
    inputs = [
        [[100 * number + index] * length for index, length in enumerate(each)]
        for number, each in enumerate(requests)
    ]
    for number, each in enumerate(inputs):
        queue.add(Inputs(number, each))
    while queue:
        for span in queue.take(16):
            mine = [inputs[span.inputs.request][index] for index in span.order]
            assert span.tokens.tolist() == [token for each in mine for token in each]
            assert span.lengths.tolist() == list(map(len, mine))


def test_inputs_of_like_length_share_a_batch():
    queue = queue_of([10, 2, 10, 2, 2])
    assert taken(queue, 8) == [(0, [2, 2, 2])]
    assert taken(queue, 30) == [(0, [10, 10])]


def test_what_some_do_not_need_of_their_share_is_the_older_ones():
    queue = queue_of([8] * 100, [5], [8] * 100)
    assert taken(queue, 96) == [(0, [8] * 4), (1, [5]), (2, [8] * 7)]
    assert taken(queue, 100) == [(0, [8] * 6), (2, [8] * 6)]
    assert taken(queue_of([8] * 9, [9] * 9), 32) == [(0, [8] * 2), (1, [9])]
    assert taken(queue_of([4] * 9, [9] * 9), 16) == [(0, [4] * 4)]


def test_a_request_of_one_input_does_not_wait_for_one_of_thousands():
    queue = queue_of([8] * 5_000, [8])
    assert (1, [8]) in taken(queue, 64)


def test_a_longer_input_than_the_budget_goes_alone():
    queue = queue_of([100, 100], [3])
    assert taken(queue, 64) == [(0, [100])]


def test_a_request_that_left_is_not_in_a_batch():
    queue = queue_of([3, 4], [3])
    queue.remove(0)
    queue.remove(0)
    assert taken(queue, 64) == [(1, [3])]
    assert not queue
    assert queue.tokens == 0
