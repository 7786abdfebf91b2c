"""Estimates of a policy by what others did, on decision problems whose true values are known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.kit.errors import FailedPrecondition, InvalidArgument
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode, Transitions
from services.rl_policy.evaluation.estimate import interval, of_returns, quantile_of_t, ranked
from services.rl_policy.evaluation.off_policy import Candidate, evaluate
from services.rl_policy.evaluation.question import Method, Question
from services.rl_policy.spaces import Box, Discrete

DISCOUNT = 0.9
STATES, CHOICES = 3, 2
# From each state, each choice: where to, with which probabilities (the last column: the end).
MOVES = np.array(
    [
        [[0.1, 0.6, 0.1, 0.2], [0.2, 0.1, 0.5, 0.2]],
        [[0.3, 0.2, 0.2, 0.3], [0.0, 0.1, 0.7, 0.2]],
        [[0.2, 0.2, 0.1, 0.5], [0.4, 0.1, 0.2, 0.3]],
    ]
)
REWARDS = np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 0.5]])
BEHAVIOUR = np.array([[0.6, 0.4], [0.5, 0.5], [0.3, 0.7]])
TARGET = np.array([[0.3, 0.7], [0.7, 0.3], [0.5, 0.5]])


class Tabled:
    """Acts by given odds of each state."""

    draws = 1

    def __init__(self, odds: Doubles) -> None:
        self.odds = odds

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        raise NotImplementedError

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        return self.odds[observations[:, 0].astype(int)]

    def weights(self) -> dict[str, Array]:
        return {}


def _value(odds: Doubles) -> float:
    """Return the true value of acting by `odds` from state 0: the solution of Bellman's equation."""
    moves = np.einsum("sa,sat->st", odds, MOVES[:, :, :STATES])
    rewards = (odds * REWARDS).sum(axis=1)
    return float(np.linalg.solve(np.eye(STATES) - DISCOUNT * moves, rewards)[0])


def _episodes(count: int, seed: int) -> list[Transitions]:
    generator = np.random.default_rng(seed)
    return [_episode(generator) for _ in range(count)]


def _episode(generator: np.random.Generator) -> Transitions:
    states, actions, rewards, state = [], [], [], 0
    while state < STATES:
        action = int(generator.random() < BEHAVIOUR[state, 1])
        states.append(state)
        actions.append(action)
        rewards.append(REWARDS[state, action] + generator.normal(0, 0.3))
        state = int(generator.choice(STATES + 1, p=MOVES[state, action]))
    following = np.array([*states[1:], 0])
    return _transitions(np.array(states), np.array(actions), np.array(rewards), following, BEHAVIOUR)


def _transitions(states: Array, actions: Array, rewards: Array, following: Array, odds: Array) -> Transitions:
    count = len(states)
    return Transitions(
        episode=np.zeros(count, np.int64),
        step=np.arange(count),
        observation=states[:, None].astype(np.float32),
        action=actions[:, None].astype(np.float32),
        propensity=odds[states, actions],
        reward=rewards,
        next_observation=following[:, None].astype(np.float32),
        terminated=np.arange(count) == count - 1,
        truncated=np.zeros(count, np.bool_),
        mask=np.ones((count, CHOICES), np.bool_),
        next_mask=np.ones((count, CHOICES), np.bool_),
        decision_id=np.arange(count),
        policy_version=np.ones(count, np.int64),
    )


def _candidate(odds: Doubles = TARGET) -> Candidate:
    return Candidate(Tabled(odds), Mode.EXPLORE, Discrete(STATES), Discrete(CHOICES))


def _covered(method: Method, logs: Sequence[list[Transitions]], confidence: float) -> float:
    """Return how often the interval held the truth."""
    truth = _value(TARGET)
    question = Question(method, DISCOUNT, confidence, min_effective=10)
    estimates = [evaluate(_candidate(), log, question) for log in logs]
    return float(np.mean([each.low <= truth <= each.high for each in estimates]))


SEQUENTIAL = [Method.IPS, Method.SNIPS, Method.PDIS, Method.DOUBLY_ROBUST, Method.FQE]


@pytest.mark.parametrize("method", SEQUENTIAL)
def test_intervals_of_90_percent_hold_the_truth_about_so_often(method: Method):
    logs = [_episodes(150, seed) for seed in range(40)]

    assert _covered(method, logs, 0.9) >= 0.75


@pytest.mark.soak
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("method", SEQUENTIAL)
def test_intervals_hold_the_truth_at_the_stated_rate(method: Method, confidence: float):
    logs = [_episodes(400, seed) for seed in range(500)]

    assert abs(_covered(method, logs, confidence) - confidence) <= 0.05


@pytest.mark.parametrize("method", SEQUENTIAL)
def test_a_long_log_says_the_value_closely(method: Method):
    estimate = evaluate(_candidate(), _episodes(4_000, 1), Question(method, DISCOUNT))

    assert estimate.mean == pytest.approx(_value(TARGET), abs=0.25)
    assert estimate.low < estimate.mean < estimate.high


def test_model_and_weights_together_are_surer_than_weights_alone():
    log = _episodes(1_000, 2)

    widths = {
        method: estimate.high - estimate.low
        for method in (Method.IPS, Method.PDIS, Method.DOUBLY_ROBUST)
        for estimate in [evaluate(_candidate(), log, Question(method, DISCOUNT))]
    }

    assert widths[Method.DOUBLY_ROBUST] < widths[Method.PDIS] < widths[Method.IPS]


def test_the_behaviour_itself_is_judged_by_its_own_returns():
    log = _episodes(500, 3)
    estimate = evaluate(_candidate(BEHAVIOUR), log, Question(Method.IPS, DISCOUNT))
    returns = np.array([(each.reward * DISCOUNT ** np.arange(len(each))).sum() for each in log])

    assert estimate.mean == pytest.approx(returns.mean())
    assert estimate.effective == pytest.approx(500)
    assert (estimate.low, estimate.high) == pytest.approx(interval(returns, 0.95))


@pytest.mark.parametrize("method", [*SEQUENTIAL, Method.DIRECT])
def test_single_decisions_are_judged_by_every_method(method: Method):
    generator = np.random.default_rng(4)
    states = generator.integers(0, STATES, 3_000)
    actions = (generator.random(3_000) < BEHAVIOUR[states, 1]).astype(int)
    rewards = REWARDS[states, actions] + generator.normal(0, 0.5, 3_000)
    whole = _transitions(states, actions, rewards, states, BEHAVIOUR)
    log = [_ended(whole, row) for row in range(3_000)]

    estimate = evaluate(_candidate(), log, Question(method, 1.0))

    assert estimate.mean == pytest.approx((TARGET * REWARDS).sum(axis=1).mean(), abs=0.1)


def test_observations_that_no_table_holds_are_judged_by_features():
    generator = np.random.default_rng(5)
    seen = generator.normal(size=(600, 2)).astype(np.float32)
    actions = generator.integers(0, 2, 600)
    rewards = np.sin(2 * seen[:, 0]) * np.where(actions == 1, 1.0, -1.0)
    whole = _transitions(np.zeros(600, int), actions, rewards, np.zeros(600, int), np.full((1, 2), 0.5))
    log = [_ended(whole, row, seen[row]) for row in range(600)]
    odds = np.array([[0.0, 1.0]])
    best = Candidate(Alike(odds), Mode.GREEDY, Box((2,)), Discrete(2))

    estimate = evaluate(best, log, Question(Method.FQE, 0.0))

    assert estimate.mean == pytest.approx(np.sin(2 * seen[:, 0]).mean(), abs=0.15)


def test_too_little_evidence_is_refused_with_the_figures():
    certain = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])

    for method in SEQUENTIAL:
        with pytest.raises(FailedPrecondition) as refusal:
            evaluate(_candidate(certain), _episodes(40, 6), Question(method, DISCOUNT))
        assert refusal.value.reason == "EVIDENCE_TOO_THIN"
        assert float(refusal.value.metadata["effective"]) < 50
    with pytest.raises(FailedPrecondition):
        evaluate(_candidate(), [], Question(Method.FQE, DISCOUNT))


def test_what_a_method_cannot_judge_is_refused():
    log = _episodes(60, 7)
    unknown = [each[np.arange(len(each))] for each in log]
    for each in unknown:
        each.propensity[:] = np.nan
    boxed = Candidate(Tabled(TARGET), Mode.EXPLORE, Discrete(STATES), Box((1,)))

    with pytest.raises(InvalidArgument, match="propensities"):
        evaluate(_candidate(), unknown, Question(Method.SNIPS, DISCOUNT))
    with pytest.raises(InvalidArgument, match="single decisions"):
        evaluate(_candidate(), log, Question(Method.DIRECT, DISCOUNT, min_effective=2))
    with pytest.raises(InvalidArgument, match="discrete"):
        evaluate(boxed, log, Question(Method.IPS, DISCOUNT))
    with pytest.raises(InvalidArgument, match="confidence"):
        Question(Method.IPS, DISCOUNT, confidence=1.0)
    estimate = evaluate(_candidate(), unknown, Question(Method.FQE, DISCOUNT, min_effective=5))
    assert "no propensity" in estimate.warnings[0]


def test_quantiles_of_t_are_those_of_the_tables():
    assert quantile_of_t(0.975, 4) == pytest.approx(2.776, rel=0.01)
    assert quantile_of_t(0.975, 30) == pytest.approx(2.0423, rel=1e-3)
    assert quantile_of_t(0.9, 10) == pytest.approx(1.3722, rel=1e-3)


def test_estimates_are_ranked_and_said_to_differ_only_where_intervals_do():
    poor = of_returns(np.array([1.0, 2.0, 3.0]), 0.95)
    good = of_returns(np.array([9.0, 9.5, 10.0]), 0.95)

    assert ranked([poor, good]) == ([1, 0], True)
    assert ranked([good, good])[1] is False


class Alike(Tabled):
    """Acts by the same odds everywhere."""

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        return np.repeat(self.odds, len(observations), axis=0)


def _ended(whole: Transitions, row: int, seen: Array | None = None) -> Transitions:
    one = whole[row : row + 1]
    observation = one.observation if seen is None else seen[None]
    values = dict(one.columns())
    values |= {
        "observation": observation,
        "next_observation": observation,
        "terminated": np.ones(1, np.bool_),
    }
    return Transitions(**values)
