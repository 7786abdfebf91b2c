"""The next token: each parameter as its proto says, and no row's business with its neighbours."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference_worker.engine.batch import Floats
from services.inference_worker.engine.sampler import Choice, choose
from services.inference_worker.engine.sequence import Sequence
from services.inference_worker.wire import Generate, Sampling

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], np.float32)


def softmax(logits: Floats) -> Any:
    weights = np.exp(logits.astype(np.float64) - float(logits.max()))
    return weights / weights.sum()


def sequence(answer: list[int] | None = None, prompt: list[int] | None = None, **sampling: Any) -> Sequence:
    asked = Sampling(**{"max_tokens": 9, **sampling})
    made = Sequence(Generate(1, "m", list(prompt or [5]), asked, 0.0), 10_000, frozenset())
    for token in answer or []:
        made.accept(token, 1.0)
    return made


def chosen(logits: Floats, one: Sequence) -> Choice:
    return choose(logits, int(logits.argmax()), one)


def tokens(logits: Floats, count: int, **sampling: Any) -> list[int]:
    """Return `count` draws for one sequence."""
    one = sequence(**sampling)
    return [chosen(logits, one).token for _ in range(count)]


def allowed(count: int = 400, **sampling: Any) -> set[int]:
    return set(tokens(LOGITS, count, temperature=1.0, seed=1, **sampling))


def test_temperature_zero_takes_the_likeliest_whatever_else_is_asked():
    assert set(tokens(LOGITS, 20, temperature=0.0, top_p=0.1, min_p=0.5)) == {0}


def test_draws_follow_the_probabilities():
    draws = Counter(tokens(LOGITS, 4_000, temperature=1.0, seed=3))
    expected = softmax(LOGITS).tolist()
    assert [draws[token] / 4_000 for token in range(6)] == pytest.approx(expected, abs=0.03)


def test_temperature_divides_the_logits():
    draws = Counter(tokens(LOGITS, 4_000, temperature=2.0, seed=3))
    assert draws[0] / 4_000 == pytest.approx(softmax(LOGITS / 2)[0], abs=0.03)


def test_top_k_keeps_so_many():
    assert allowed(top_k=2) == {0, 1}
    assert allowed(top_k=1) == {0}
    assert allowed(top_k=99) >= {0, 1, 2, 3}


def test_top_p_keeps_the_fewest_that_reach_it():
    sums = softmax(LOGITS).cumsum().tolist()
    assert allowed(top_p=sums[0] - 0.01) == {0}
    assert allowed(top_p=sums[0] + 0.01) == {0, 1}
    assert allowed(top_p=sums[1] + 0.01) == {0, 1, 2}
    assert allowed(top_p=1e-9) == {0}


def test_top_p_looks_at_what_top_k_has_left():
    two = softmax(LOGITS[:2]).tolist()
    assert allowed(top_k=2, top_p=two[0] - 0.01) == {0}


def test_min_p_is_a_share_of_the_likeliest():
    assert allowed(min_p=math.exp(-1.0) + 0.01) == {0}
    assert allowed(min_p=math.exp(-1.0) - 0.01) == {0, 1}
    assert allowed(min_p=1.0) == {0}


def test_top_p_is_exact_where_it_needs_most_of_a_large_vocabulary():
    flat = np.zeros(20_000, np.float32)
    draws = tokens(flat, 300, temperature=1.0, seed=1, top_p=0.9)
    assert len(set(draws)) > 280
    assert max(draws) < 20_000


@pytest.mark.parametrize("penalty", [0.5, 1.3, 5.0])
def test_the_repetition_penalty_divides_what_is_above_zero_and_multiplies_what_is_below(penalty: float):
    logits = np.random.default_rng(1).standard_normal(64, np.float32)
    seen = [3, 9, 3, 11, 60]
    expected = logits.astype(np.float64)
    for token in set(seen):
        expected[token] = expected[token] / penalty if expected[token] > 0 else expected[token] * penalty
    one = sequence(prompt=seen[:3], answer=seen[3:], repetition_penalty=penalty)
    assert chosen(logits, one).token == int(expected.argmax())


def test_presence_counts_once_and_frequency_each_time_and_neither_the_prompt():
    logits = np.array([1.0, 0.9, 0.8], np.float32)
    assert chosen(logits, sequence(prompt=[0, 0], answer=[], presence_penalty=5)).token == 0
    assert chosen(logits, sequence(answer=[0, 0, 0], presence_penalty=0.15)).token == 1
    assert chosen(logits, sequence(answer=[0, 0, 0], presence_penalty=0.05)).token == 0
    assert chosen(logits, sequence(answer=[0, 0, 0], frequency_penalty=0.05)).token == 1
    assert chosen(logits, sequence(answer=[1], frequency_penalty=-0.2)).token == 1


def test_a_seed_gives_the_same_tokens():
    rows = np.random.default_rng(2).standard_normal((5, 300), np.float32)
    one, other = sequence(temperature=1.0, seed=7), sequence(temperature=1.0, seed=7)
    first = [chosen(row, one).token for row in rows]
    assert first == [chosen(row, other).token for row in rows]
    assert len(set(first)) > 1


def test_every_token_uses_one_random_number_whatever_else_is_asked():
    plain, shaped = sequence(temperature=1.0, seed=7), sequence(temperature=0.2, seed=7, top_p=0.1, top_k=2)
    for _ in range(3):
        chosen(LOGITS, plain)
        chosen(LOGITS, shaped)
    assert plain.uniform() == shaped.uniform()


def plainly(
    logits: Floats, uniform: float, *, temperature: float, top_k: int, top_p: float, min_p: float
) -> set[int]:
    """Return which tokens may be drawn at `uniform`, by the definitions alone and give or take rounding."""
    weights = np.exp((logits.astype(np.float64) - float(logits.max())) / temperature)
    order = np.lexsort((np.arange(len(weights)), -weights))[: top_k or None]
    sums = weights[order].cumsum()
    order = order[: 1 + int((sums[:-1] < top_p * sums[-1]).sum())] if top_p < 1 else np.sort(order)
    order = order[weights[order] >= min_p]
    sums = weights[order].cumsum()
    places = np.searchsorted(sums, [(uniform - 1e-5) * sums[-1], (uniform + 1e-5) * sums[-1]])
    return {int(order[min(place, len(order) - 1)]) for place in range(places[0], places[1] + 1)}


@settings(derandomize=True, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.05, 0.2, 0.7, 1.0, 3.0]),
    st.sampled_from([0, 1, 7, 50, 5_000]),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.02, 0.5]),
)
def test_shortcuts_draw_what_the_definitions_say(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float
):
    logits = np.random.default_rng(seed).standard_normal(3_000).astype(np.float32) * 4
    asked = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    one = sequence(seed=seed, **asked)
    uniform = sequence(seed=seed).uniform()
    assert chosen(logits, one).token in plainly(logits, uniform, **asked)


def test_without_a_seed_answers_differ():
    flat = np.zeros(1_000, np.float32)
    assert tokens(flat, 8, temperature=1.0) != tokens(flat, 8, temperature=1.0)


def test_log_probabilities_are_those_before_any_shaping():
    one = sequence(temperature=0.0, logprobs=2, answer=[0], presence_penalty=50.0)
    choice = chosen(LOGITS, one)
    expected = np.log(softmax(LOGITS)).tolist()
    assert choice.token == 1
    assert choice.logprob is not None
    assert choice.logprob.logprob == pytest.approx(expected[1])
    assert [token for token, _ in choice.logprob.top] == [0, 1]
    assert [value for _, value in choice.logprob.top] == pytest.approx(expected[:2])


def test_zero_log_probabilities_ask_for_the_chosen_one_only():
    choice = chosen(LOGITS, sequence(logprobs=0))
    assert choice.logprob is not None
    assert choice.logprob.top == []


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1e-45},
        {"temperature": 3e38},
        {"temperature": 100.0, "repetition_penalty": 1e-45},
        {
            "temperature": 1.0,
            "repetition_penalty": 100.0,
            "presence_penalty": 100.0,
            "frequency_penalty": -100.0,
        },
        {"temperature": 1e-38, "top_p": 1e-45, "min_p": 1.0, "top_k": 2**32 - 1},
    ],
)
def test_the_ends_of_the_ranges_give_a_token(sampling: dict[str, float]):
    one = sequence(answer=[0, 1, 1], seed=2**64 - 1, **sampling)
    assert 0 <= chosen(LOGITS, one).token < 6


def test_the_logits_are_left_as_they_were():
    logits = LOGITS.copy()
    chosen(logits, sequence(answer=[0], temperature=1.0, repetition_penalty=2.0, top_k=3, logprobs=2))
    assert (logits == LOGITS).all()
