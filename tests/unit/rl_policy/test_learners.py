"""Every algorithm: it learns, however its log is cut, and goes on from a checkpoint as if never stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.kit.errors import InvalidArgument
from services.rl_policy.algorithms.algorithm import Diverged, Mode, joined
from services.rl_policy.algorithms.plan import ALGORITHMS, Plan, options_of
from services.rl_policy.algorithms.policies.loading import load
from services.rl_policy.spaces import Box, Dict, Discrete, MultiDiscrete
from tests.unit.rl_policy.corridor import EVERY, PLACES, learn_all, plan, played, same_state

VARIANTS = [
    *((name, {}) for name in EVERY),
    ("dqn", {"double": True, "dueling": True, "n_step": 3, "prioritised": True}),
    ("dqn", {"normalise_observations": True, "buffer_size": 100}),
    ("ppo", {"normalise_observations": True, "normalise_rewards": True}),
    ("q_learning", {"publish_interval": 7, "learning_rate_power": 0.6}),
]
LEARN = {
    "q_learning": ({"epsilon": {"start": 1.0, "end": 0.1, "steps": 1_000}}, 2_000),
    "sarsa": ({"epsilon": {"start": 1.0, "end": 0.1, "steps": 1_000}}, 3_000),
    "expected_sarsa": ({"epsilon": {"start": 1.0, "end": 0.1, "steps": 1_000}}, 2_000),
    "double_q": ({"epsilon": {"start": 1.0, "end": 0.1, "steps": 1_000}, "learning_rate": 0.2}, 3_000),
    "dqn": ({"epsilon": {"start": 1.0, "end": 0.1, "steps": 1_000}, "target_interval": 50}, 3_000),
    "reinforce": ({"learning_rate": 0.01}, 6_000),
    "a2c": ({"learning_rate": 0.01}, 4_000),
    "ppo": ({"learning_rate": 0.01}, 4_000),
}


def test_every_algorithm_is_tried_here():
    assert set(EVERY) == set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", LEARN)
def test_it_learns_to_walk_to_the_reward(algorithm: str):
    options, steps = LEARN[algorithm]
    learner, _ = played(plan(algorithm, **options), steps)
    places = np.arange(PLACES - 1, dtype=np.float32)[:, None]
    masks = np.asarray([[place > 0, True, place > PLACES // 2] for place in range(PLACES - 1)])
    chosen = learner.policy().act(places, masks, Mode.GREEDY, np.zeros((len(places), 1)))
    assert chosen.actions[:, 0].tolist() == [1.0] * len(places)


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS)
def test_however_the_log_is_cut_the_same_is_learned(algorithm: str, options: dict[str, object]):
    made = plan(algorithm, **options)
    learner, _ = played(made, 400)
    log = joined(learner.batches)
    for size in (1, 33, len(log)):
        other = made.learner()
        learn_all(other, [log[begin : begin + size] for begin in range(0, len(log), size)])
        assert same_state(learner, other)


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS)
def test_resumed_it_learns_as_if_it_had_never_stopped(algorithm: str, options: dict[str, object]):
    made = plan(algorithm, **options)
    learner, _ = played(made, 400)
    log = joined(learner.batches)
    half = 211
    first = made.learner()
    learn_all(first, [log[:half]])

    resumed = made.learner()
    resumed.restore({name: np.asarray(each) for name, each in first.state().items()})
    before = log[max(0, half - resumed.memory) : half]
    for begin in range(0, len(before), 50):
        resumed.remember(before[begin : begin + 50])
    learn_all(resumed, [log[half:]])

    assert same_state(resumed, learner)
    mine, theirs = resumed.policy().weights(), learner.policy().weights()
    assert all(np.asarray(mine[name]).tobytes() == np.asarray(theirs[name]).tobytes() for name in theirs)


@pytest.mark.parametrize(("algorithm", "options"), VARIANTS)
def test_a_policy_acts_from_its_weights_as_it_did(algorithm: str, options: dict[str, object]):
    made = plan(algorithm, discrete=False, **options)
    policy = played(made, 200)[0].policy()
    again = load(made, policy.weights())
    generator = np.random.default_rng(1)
    rows = generator.random((50, 2)).astype(np.float32)
    uniforms, masks = generator.random((50, policy.draws)), np.ones((50, 3), np.bool_)
    for mode in Mode:
        one, other = policy.act(rows, masks, mode, uniforms), again.act(rows, masks, mode, uniforms)
        assert one.actions.tobytes() == other.actions.tobytes()
        assert one.propensities.tobytes() == other.propensities.tobytes()


@pytest.mark.parametrize("algorithm", ["q_learning", "dqn", "ppo", "linucb", "behaviour_cloning"])
def test_rewards_beyond_all_bounds_are_a_divergence(algorithm: str):
    made = plan(algorithm)
    learner, _ = played(made, 300)
    log = joined(learner.batches)
    broken = replace(log, reward=np.full(len(log), np.inf))
    if algorithm == "behaviour_cloning":
        broken = replace(log, observation=np.full_like(log.observation, 0), reward=log.reward)
        learn_all(made.learner(), [broken])  # rewards teach it nothing, so they do no harm
        return
    with np.errstate(all="ignore"), pytest.raises(Diverged):
        learn_all(made.learner(), [broken])


@pytest.mark.parametrize("algorithm", ["reinforce", "a2c", "ppo", "behaviour_cloning"])
@pytest.mark.parametrize(
    "action",
    [
        MultiDiscrete((2, 3)),
        Box((2,), (-1.0, 0.0), (1.0, 5.0)),
        Box((1,)),
        Dict((("a", Discrete(2)), ("b", Discrete(4)))),
    ],
)
def test_policies_act_and_learn_in_any_space_of_actions(algorithm: str, action: object):
    base = (
        plan(algorithm, discrete=False, rollout_steps=40)
        if algorithm != "behaviour_cloning"
        else plan(algorithm, discrete=False)
    )
    made = Plan(algorithm, base.observation, action, base.options, 0.9, 1)
    learner = made.learner()
    generator = np.random.default_rng(2)
    log = joined(played(plan("q_learning", discrete=False), 120)[0].batches)
    masks = np.ones((len(log), {MultiDiscrete: 5, Box: 0, Dict: 6}[type(action)]), np.bool_)
    policy = learner.policy()
    acted = policy.act(log.observation, masks, Mode.EXPLORE, generator.random((len(log), policy.draws)))
    assert (acted.propensities > 0).all()
    before = learner.state()
    log = replace(log, action=acted.actions, propensity=acted.propensities, mask=masks, next_mask=masks)
    learn_all(learner, [log])
    after = learner.state()
    assert any(np.asarray(before[name]).tobytes() != np.asarray(after[name]).tobytes() for name in before)


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_space_that_does_not_fit_is_refused_with_its_field(algorithm: str):
    made = plan(algorithm)
    wrong = Dict((("a", Box((1,))), ("b", Discrete(2))))
    with pytest.raises(InvalidArgument) as refused:
        replace(made, action=wrong).learner()
    assert refused.value.violations[0].field == "action_space"


def test_a_plan_is_the_same_after_json():
    for algorithm in EVERY:
        made = plan(algorithm, discrete=False)
        assert Plan.of(made.document()) == made


@pytest.mark.parametrize(
    ("algorithm", "values", "field"),
    [
        ("dqn", {"batch_size": 0}, "batch_size"),
        ("dqn", {"learning_rate": -1.0}, "learning_rate"),
        ("ppo", {"epochs": 0}, "epochs"),
        ("ppo", {"hidden": [0]}, "hidden"),
        ("q_learning", {"gamma": 1}, "hyperparameters.gamma"),
        ("linucb", {"ridge": float("nan")}, "ridge"),
    ],
)
def test_a_wrong_option_is_named(algorithm: str, values: dict[str, object], field: str):
    with pytest.raises(InvalidArgument) as refused:
        options_of(algorithm, values)
    assert refused.value.violations[0].field == field
