"""Batches of an encoder: within the budget, of like lengths, with the oldest input in the next one."""

from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.inputs import InputQueue


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), min_size=1, max_size=12))
def test_every_input_is_taken_once_and_the_oldest_is_in_each_batch(requests: list[list[int]]):
    queue = InputQueue()
    waiting = []
    for number, lengths in enumerate(requests):
        queue.add(number, lengths)
        waiting += [(number, index) for index in range(len(lengths))]
    while queue:
        batch = queue.take(64)
        taken = [(each.request, each.index) for each in batch]
        assert waiting[0] in taken
        assert len(batch) == 1 or len(batch) * max(each.length for each in batch) <= 64
        waiting = [each for each in waiting if each not in taken]
    assert waiting == []
    assert queue.tokens == 0


def test_inputs_of_like_length_share_a_batch():
    queue = InputQueue()
    queue.add(1, [10, 2, 10, 2])
    queue.add(2, [2, 10])
    assert [(each.request, each.length) for each in queue.take(30)] == [(1, 10), (1, 10), (2, 10)]
    assert [each.length for each in queue.take(30)] == [2, 2, 2]


def test_a_longer_input_than_the_budget_goes_alone():
    queue = InputQueue()
    queue.add(1, [100, 100])
    assert [each.length for each in queue.take(64)] == [100]


def test_a_request_that_left_is_not_in_a_batch():
    queue = InputQueue()
    queue.add(1, [3, 4])
    queue.add(2, [3])
    queue.remove({1})
    assert [each.request for each in queue.take(64)] == [2]
    assert not queue
    assert queue.tokens == 0
