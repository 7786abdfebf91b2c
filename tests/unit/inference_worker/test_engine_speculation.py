"""Drafts: found in the sequence's own tokens, made only while they pay."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.speculation import PromptLookup, draft


@dataclass
class Linear:
    """Steps whose rows beyond the first cost so much of the first."""

    share: float

    def seconds(self, rows: int) -> float:
        return 1 + self.share * (rows - 1)


FREE = Linear(0.0)
TEXT = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]


def test_what_followed_the_last_three_tokens_is_proposed():
    assert PromptLookup().propose(TEXT, 4) == [4, 5, 6, 7]


def test_the_latest_place_counts():
    assert PromptLookup().propose([1, 2, 3, 9, 9, 1, 2, 3, 5, 5, 1, 2, 3], 2) == [5, 5]


def test_a_loop_is_proposed_to_go_on():
    assert PromptLookup().propose([9, 4, 4, 4, 4], 5) == [4] * 5
    assert PromptLookup().propose([1, 2, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("tokens", [[1], [1, 2, 3], [1, 2, 3, 4, 5, 6], [5, 2, 3, 4, 1, 2, 3]])
def test_nothing_is_proposed_where_nothing_was_seen(tokens: list[int]):
    assert PromptLookup().propose(tokens, 4) == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 20))
def test_tokens_that_come_later_are_found_like_those_there_at_once(tokens: list[int], first: int):
    lookup = PromptLookup()
    for length in range(min(first, len(tokens)), len(tokens) + 1):
        proposed = lookup.propose(tokens[:length], 4)
        assert proposed == PromptLookup().propose(tokens[:length], 4)


def test_a_sequence_whose_drafts_fail_stops_drafting_but_for_a_try_now_and_then():
    lookup, tries = PromptLookup(), list[int]()
    for step in range(400):
        if drafted := draft(lookup, TEXT, 4, 1, Linear(0.05)):
            lookup.learn(len(drafted), 0)
            tries.append(step)
    assert tries[:8] == list(range(8))
    assert 10 < sum(step >= 200 for step in tries) < 50


def test_drafts_are_as_long_as_pays():
    lookup, costly = PromptLookup(), Linear(0.2)
    assert draft(lookup, TEXT, 9, 1, costly) == [4]
    assert draft(lookup, TEXT, 9, 1, Linear(0.5)) == []
    for _ in range(10):
        lookup.learn(4, 4)
    assert draft(lookup, TEXT, 9, 1, costly) == [4, 5, 6, 7, 8, 1, 2, 3, 4]
    assert draft(lookup, TEXT, 9, 1, Linear(1.0)) == []


def test_what_comes_behind_the_first_wrong_token_says_nothing():
    short, long = PromptLookup(), PromptLookup()
    short.learn(3, 2)
    long.learn(5, 2)
    assert short.rate == long.rate
    assert PromptLookup().rate < short.rate


@pytest.mark.parametrize(("rows", "most"), [(1, 15), (3, 4), (4, 3), (8, 1), (9, 0), (32, 0)])
def test_many_rows_leave_less_for_drafts(rows: int, most: int):
    assert len(draft(PromptLookup(), TEXT, 99, rows, FREE)) == most


def test_no_draft_is_longer_than_it_may_be():
    assert draft(PromptLookup(), TEXT, 2, 1, FREE) == [4, 5]
    assert draft(PromptLookup(), TEXT, 0, 1, FREE) == []
