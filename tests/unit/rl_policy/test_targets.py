"""What learners learn towards: targets, advantages, priorities, models; against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.rl_policy.algorithms.algorithm import Mode, Transitions, joined
from services.rl_policy.algorithms.normaliser import Normaliser
from services.rl_policy.algorithms.plan import Plan, options_of
from services.rl_policy.algorithms.priorities import Priorities
from services.rl_policy.algorithms.replay import Replay
from services.rl_policy.algorithms.trajectories import advantages
from services.rl_policy.spaces import Box, Dict, Discrete
from tests.unit.rl_policy.corridor import learn_all, plan


def _steps(rows: list[tuple[int, int, float, str]], **columns: np.ndarray) -> Transitions:
    """Return transitions of (episode, step, reward, end): from place `step` to `step` + 1 by action 1."""
    episode, step, reward, end = (np.asarray(each) for each in zip(*rows, strict=True))
    count = len(rows)
    values = {
        "episode": episode,
        "step": step,
        "observation": step[:, None].astype(np.float32),
        "action": np.ones((count, 1), np.float32),
        "propensity": np.ones(count),
        "reward": reward.astype(np.float64),
        "next_observation": step[:, None].astype(np.float32) + 1,
        "terminated": end == "terminated",
        "truncated": end == "truncated",
        "mask": np.ones((count, 3), np.bool_),
        "next_mask": np.ones((count, 3), np.bool_),
        "decision_id": np.arange(count),
        "policy_version": np.ones(count, np.int64),
    }
    return Transitions(**{**values, **columns})


def _table(algorithm: str, batch: Transitions, start: float = 5.0) -> np.ndarray:
    learner = plan(algorithm, learning_rate=1.0, epsilon=0.0, initial_value=start).learner()
    learn_all(learner, [batch])
    return learner.policy().values


@pytest.mark.parametrize("algorithm", ["q_learning", "sarsa", "expected_sarsa", "double_q"])
def test_nothing_follows_a_termination_and_much_a_cut(algorithm: str):
    ended = _table(algorithm, _steps([(1, 0, 1.0, "terminated")]))
    cut = _table(algorithm, _steps([(1, 0, 1.0, "truncated")]))
    both = 2.0 if algorithm == "double_q" else 1.0  # only one of its tables has learned
    assert ended[0, 1] == pytest.approx(5.0 + (1.0 - 5.0) / both)
    assert cut[0, 1] == pytest.approx(5.0 + (1.0 + 0.9 * 5.0 - 5.0) / both)


@pytest.mark.parametrize("algorithm", ["q_learning", "expected_sarsa", "double_q"])
def test_what_the_next_mask_forbids_is_worth_nothing(algorithm: str):
    known = _steps([(1, 1, 100.0, "terminated")])
    first = _steps([(2, 0, 0.0, "truncated")], next_mask=np.asarray([[True, False, True]]))
    values = _table(algorithm, joined([known, known, known, known, first]), start=1.0)
    assert values[0, 1] <= 1.0


def test_sarsa_learns_from_what_was_done_next():
    known = _steps([(1, 1, 100.0, "terminated")])
    walk = _steps([(2, 0, 0.0, ""), (2, 1, 0.0, "truncated")], action=np.asarray([[1.0], [0.0]], np.float32))
    assert _table("sarsa", joined([known, walk]), start=1.0)[0, 1] == pytest.approx(0.9)
    assert _table("q_learning", joined([known, walk]), start=1.0)[0, 1] == pytest.approx(90.0)


def test_a_target_of_three_steps_ends_where_its_episode_does():
    log = _steps(
        [
            *((1, 0, 1.0, ""), (2, 0, 10.0, ""), (1, 1, 2.0, ""), (2, 1, 20.0, "truncated")),
            *((1, 2, 3.0, ""), (1, 3, 4.0, "terminated"), (3, 0, 7.0, "")),
        ]
    )
    replay = Replay(100, 0.5, steps=3)
    replay.add(log[:3])
    replay.add(log[3:])
    batch = replay.batch(np.arange(7))
    assert batch.reward.tolist() == [1 + 1 + 0.75, 10 + 10, 2 + 1.5 + 1, 20, 3 + 2, 4, 7]
    assert batch.discount.tolist() == [0.125, 0.25, 0.0, 0.5, 0.0, 0.0, 0.5]
    assert batch.next_observation[:, 0].tolist() == [3, 2, 4, 2, 4, 4, 1]


def test_a_ring_that_is_full_forgets_the_oldest():
    replay = Replay(4, 0.9, steps=2)
    replay.add(_steps([(1, step, float(step), "") for step in range(10)]))
    assert len(replay) == 4
    assert replay.latest(4)[:, 0].tolist() == [6, 7, 8, 9]
    batch = replay.batch(np.arange(10 - 4, 10) % 4)
    assert batch.reward.tolist() == pytest.approx([6 + 0.9 * 7, 7 + 0.9 * 8, 8 + 0.9 * 9, 9])


def test_advantages_are_the_sums_that_define_them():
    generator = np.random.default_rng(1)
    log = _steps([(episode, step, 1.0, "") for step in range(6) for episode in (1, 2)])
    log = replace(log, reward=generator.normal(size=12))
    log = replace(log, terminated=(log.episode == 1) & (log.step == 3))
    here, after = generator.normal(size=12), generator.normal(size=12)
    found = advantages(log, log.reward, (here, after), 0.9, 0.7)
    deltas = log.reward + 0.9 * np.where(log.terminated, 0, after) - here
    for row in range(12):
        total = 0.0
        for other in range(12):
            ahead = log.step[other] - log.step[row]
            apart = log.episode[row] == 1 and log.step[row] <= 3 < log.step[other]
            if log.episode[other] == log.episode[row] and ahead >= 0 and not apart:
                total += 0.63**ahead * deltas[other]
        assert found[row] == pytest.approx(total)


def test_rows_are_drawn_as_often_as_their_priorities_say():
    priorities = Priorities(5, 1.0)
    priorities.add(np.arange(5))
    priorities.update(np.arange(5), np.asarray([1.0, 2.0, 3.0, 4.0, 0.0]))
    drawn = priorities.draw(np.random.default_rng(1).random(100_000))
    assert np.bincount(drawn, minlength=5) / 100_000 == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.0], abs=1e-3)
    weights = priorities.weights(np.arange(4), 5, 1.0)
    assert weights == pytest.approx([1.0, 1 / 2, 1 / 3, 1 / 4], rel=1e-4)
    again = Priorities(5, 1.0)
    again.restore(priorities.state())
    uniforms = np.random.default_rng(2).random(1_000)
    assert np.array_equal(again.draw(uniforms), priorities.draw(uniforms))


def test_a_normaliser_knows_mean_and_variance_of_all_it_saw():
    rows = np.random.default_rng(1).normal(3.0, 2.0, (1_000, 2))
    normaliser = Normaliser.fresh(2)
    for part in np.array_split(rows, 7):
        normaliser = normaliser.updated(part)
    assert normaliser.mean == pytest.approx(rows.mean(axis=0))
    assert normaliser.variance == pytest.approx(rows.var(axis=0))


@pytest.mark.parametrize("algorithm", ["linucb", "thompson", "squarecb"])
@pytest.mark.parametrize("described", [False, True])
def test_a_bandit_finds_the_action_that_each_context_wants(algorithm: str, described: bool):
    context = Box((2,), (-1.0,), (1.0,))
    features = Box((3, 2), (-1.0,), (1.0,))
    space = Dict((("0_context", context), ("1_actions", features))) if described else context
    made = Plan(algorithm, space, Discrete(3), options_of(algorithm, {"action_features": 2 * described}))
    learner, generator = made.learner(), np.random.default_rng(4)
    wanted = np.asarray([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    masks = np.ones((8, 3), np.bool_)
    for _ in range(80):
        rows = generator.uniform(-1, 1, (8, 2)).astype(np.float32)
        shown = np.concatenate([rows, np.tile(wanted.reshape(1, 6), (8, 1))], axis=1) if described else rows
        shown = shown.astype(np.float32)
        policy = learner.policy()
        acted = policy.act(shown, masks, Mode.EXPLORE, generator.random((8, policy.draws)))
        chosen = acted.actions[:, 0].astype(int)
        reward = (rows * wanted[chosen]).sum(axis=1) + generator.normal(0, 0.1, 8)
        log = _steps([(1, 0, 0.0, "terminated")] * 8, observation=shown, next_observation=shown)
        learn_all(learner, [replace(log, reward=reward, action=acted.actions, propensity=acted.propensities)])
    rows = generator.uniform(-1, 1, (200, 2)).astype(np.float32)
    shown = np.concatenate([rows, np.tile(wanted.reshape(1, 6), (200, 1))], axis=1) if described else rows
    policy = learner.policy()
    acted = policy.act(
        shown.astype(np.float32), np.ones((200, 3), np.bool_), Mode.GREEDY, np.zeros((200, policy.draws))
    )
    earned = (rows * wanted[acted.actions[:, 0].astype(int)]).sum(axis=1)
    assert earned.mean() > 0.95 * (rows @ wanted.T).max(axis=1).mean()


def test_a_clone_does_what_it_saw():
    generator = np.random.default_rng(5)
    learner = plan("behaviour_cloning", discrete=False, learning_rate=0.01).learner()
    rows = generator.random((1_024, 2)).astype(np.float32)
    done = (rows[:, 0] > 0.5).astype(np.float32)[:, None]
    log = _steps([(1, step, 0.0, "") for step in range(1_024)], observation=rows, next_observation=rows)
    learn_all(learner, [replace(log, action=done)])
    acted = learner.policy().act(rows, log.mask, Mode.GREEDY, np.zeros((1_024, 1)))
    assert (acted.actions == done).mean() > 0.95
