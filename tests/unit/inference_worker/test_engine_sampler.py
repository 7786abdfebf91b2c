"""The next token: each parameter as its proto says, and no row's business with its neighbours."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from services.inference_worker.engine.sampler import choose
from services.inference_worker.engine.sequence import Sequence
from services.inference_worker.wire import Sampling

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def sequence(
    answer: list[int] | None = None, prompt: list[int] | None = None, **sampling: object
) -> Sequence:
    tokens = prompt or [5]
    made = Sequence(
        1, list(tokens), len(tokens), 10_000, Sampling(max_tokens=9, **sampling), frozenset(), 0.0, 0.0
    )  # type: ignore[arg-type]
    for token in answer or []:
        made.accept(token, 1.0)
    return made


def tokens(logits: Tensor, count: int, **sampling: object) -> list[int]:
    """Return `count` draws for one sequence."""
    one = sequence(**sampling)
    return [choose(logits[None], [one])[0].token for _ in range(count)]


def allowed(count: int = 400, **sampling: object) -> set[int]:
    return set(tokens(LOGITS, count, temperature=1.0, seed=1, **sampling))


def test_temperature_zero_takes_the_likeliest_whatever_else_is_asked():
    assert set(tokens(LOGITS, 20, temperature=0.0, top_p=0.1, min_p=0.5)) == {0}


def test_draws_follow_the_probabilities():
    draws = Counter(tokens(LOGITS, 4_000, temperature=1.0, seed=3))
    expected = LOGITS.softmax(-1).tolist()
    assert [draws[token] / 4_000 for token in range(6)] == pytest.approx(expected, abs=0.03)


def test_temperature_divides_the_logits():
    draws = Counter(tokens(LOGITS, 4_000, temperature=2.0, seed=3))
    assert draws[0] / 4_000 == pytest.approx(float((LOGITS / 2).softmax(-1)[0]), abs=0.03)


def test_top_k_keeps_so_many():
    assert allowed(top_k=2) == {0, 1}
    assert allowed(top_k=1) == {0}
    assert allowed(top_k=99) >= {0, 1, 2, 3}


def test_top_p_keeps_the_fewest_that_reach_it():
    sums = LOGITS.softmax(-1).cumsum(0).tolist()
    assert allowed(top_p=sums[0] - 0.01) == {0}
    assert allowed(top_p=sums[0] + 0.01) == {0, 1}
    assert allowed(top_p=sums[1] + 0.01) == {0, 1, 2}
    assert allowed(top_p=1e-9) == {0}


def test_top_p_looks_at_what_top_k_has_left():
    two = LOGITS[:2].softmax(-1).tolist()
    assert allowed(top_k=2, top_p=two[0] - 0.01) == {0}


def test_min_p_is_a_share_of_the_likeliest():
    assert allowed(min_p=math.exp(-1.0) + 0.01) == {0}
    assert allowed(min_p=math.exp(-1.0) - 0.01) == {0, 1}
    assert allowed(min_p=1.0) == {0}


def test_top_p_is_exact_where_it_needs_most_of_a_large_vocabulary():
    flat = torch.zeros(20_000)
    draws = tokens(flat, 300, temperature=1.0, seed=1, top_p=0.9)
    assert len(set(draws)) > 280
    assert max(draws) < 20_000


@pytest.mark.parametrize("penalty", [0.5, 1.3, 5.0])
def test_the_repetition_penalty_is_that_of_transformers(penalty: float):
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(64, generator=torch.Generator().manual_seed(1))
    seen = sequence(prompt=[3, 9, 3], answer=[11, 60], repetition_penalty=penalty)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen.tokens]), logits[None].clone())
    assert choose(logits[None], [seen])[0].token == int(expected.argmax())


def test_presence_counts_once_and_frequency_each_time_and_neither_the_prompt():
    logits = torch.tensor([[1.0, 0.9, 0.8]])
    assert choose(logits, [sequence(prompt=[0, 0], answer=[], presence_penalty=5)])[0].token == 0
    assert choose(logits, [sequence(answer=[0, 0, 0], presence_penalty=0.15)])[0].token == 1
    assert choose(logits, [sequence(answer=[0, 0, 0], presence_penalty=0.05)])[0].token == 0
    assert choose(logits, [sequence(answer=[0, 0, 0], frequency_penalty=0.05)])[0].token == 1
    assert choose(logits, [sequence(answer=[1], frequency_penalty=-0.2)])[0].token == 1


def test_a_seed_gives_the_same_tokens_whoever_shares_the_step():
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(2))
    alone, shared = sequence(temperature=1.0, seed=7), sequence(temperature=1.0, seed=7)
    others = [sequence(temperature=1.0, seed=number, top_p=0.5) for number in range(4)]
    first = [choose(row[None], [alone])[0].token for row in logits]
    second = [choose(torch.cat([row[None], logits[:4]]), [shared, *others])[0].token for row in logits]
    assert first == second
    assert len(set(first)) > 1


def test_without_a_seed_answers_differ():
    flat = torch.zeros(1_000)
    assert tokens(flat, 8, temperature=1.0) != tokens(flat, 8, temperature=1.0)


def test_log_probabilities_are_those_before_any_shaping():
    one = sequence(temperature=0.0, logprobs=2, answer=[0], presence_penalty=50.0)
    choice = choose(LOGITS[None], [one])[0]
    expected = LOGITS.log_softmax(-1).tolist()
    assert choice.token == 1
    assert choice.logprob is not None
    assert choice.logprob.logprob == pytest.approx(expected[1])
    assert [token for token, _ in choice.logprob.top] == [0, 1]
    assert [value for _, value in choice.logprob.top] == pytest.approx(expected[:2])


def test_zero_log_probabilities_ask_for_the_chosen_one_only():
    choice = choose(LOGITS[None], [sequence(logprobs=0)])[0]
    assert choice.logprob is not None
    assert choice.logprob.top == []


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1e-45},
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
    assert 0 <= choose(LOGITS[None], [one])[0].token < 6


def test_the_logits_are_left_as_they_were():
    logits = LOGITS[None].clone()
    choose(logits, [sequence(answer=[0], temperature=1.0, repetition_penalty=2.0, top_k=3)])
    assert torch.equal(logits, LOGITS[None])
