"""Acting: masks, propensities, and rows that do not notice their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from services.rl_policy.algorithms import draws
from services.rl_policy.algorithms.algorithm import Mode
from tests.unit.rl_policy.corridor import EVERY, plan, played


def _asked(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.random((count, 2)).astype(np.float32)
    masks = generator.random((count, 3)) < 0.5
    masks[np.arange(count), generator.integers(0, 3, count)] = True
    return rows, masks, generator.random((count, width))


def _never_masked(algorithm: str, count: int) -> None:
    policy = played(plan(algorithm, discrete=False), 200)[0].policy()
    for begin in range(0, count, 10_000):
        rows, masks, uniforms = _asked(10_000, policy.draws, begin)
        uniforms[:100] = 1.0 - 2.0**-53  # the last number below 1
        for mode in Mode:
            acted = policy.act(rows, masks, mode, uniforms)
            assert masks[np.arange(len(rows)), acted.actions[:, 0].astype(int)].all()
            assert (acted.propensities > 0).all()


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_masked_action_is_never_chosen(algorithm: str):
    _never_masked(algorithm, 10_000)


@pytest.mark.soak
@pytest.mark.parametrize("algorithm", EVERY)
def test_a_masked_action_is_never_chosen_in_a_million_acts(algorithm: str):
    _never_masked(algorithm, 1_000_000)


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize("hidden", [(16,), (200, 64)])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(algorithm: str, hidden: tuple[int, ...]):
    networks = algorithm in {"dqn", "ppo", "a2c", "reinforce", "behaviour_cloning"}
    made = plan(algorithm, discrete=False, **({"hidden": hidden} if networks else {}))
    policy = played(made, 100)[0].policy()
    rows, masks, uniforms = _asked(64, policy.draws, 5)
    for mode in Mode:
        together = policy.act(rows, masks, mode, uniforms)
        order = np.random.default_rng(6).permutation(64)
        mixed = policy.act(rows[order], masks[order], mode, uniforms[order])
        alone = [policy.act(rows[i : i + 1], masks[i : i + 1], mode, uniforms[i : i + 1]) for i in range(64)]
        for name in ("actions", "propensities", "values"):
            expected = getattr(together, name)
            assert getattr(mixed, name).tobytes() == expected[order].tobytes()
            assert np.concatenate([getattr(each, name) for each in alone]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("algorithm", [each for each in EVERY if each != "thompson"])
def test_actions_come_as_often_as_their_propensities_say(algorithm: str):
    policy = played(plan(algorithm, discrete=False), 200)[0].policy()
    rows, masks, _ = _asked(1, policy.draws, 7)
    count = 20_000
    rows, masks = np.repeat(rows, count, axis=0), np.ones((count, 3), np.bool_)
    uniforms = draws.uniforms(1, np.arange(count), np.zeros(count, np.int64), policy.draws)
    acted = policy.act(rows, masks, Mode.EXPLORE, uniforms)
    odds = policy.distribution(rows[:1], masks[:1], Mode.EXPLORE)[0]
    shares = np.bincount(acted.actions[:, 0].astype(int), minlength=3) / count
    assert np.abs(shares - odds).max() < 5 * np.sqrt(0.25 / count)
    assert np.array_equal(acted.propensities, odds[acted.actions[:, 0].astype(int)])


def test_draws_follow_from_seed_episode_and_step_and_from_nothing_else():
    episodes, steps = np.arange(1_000), np.arange(1_000) % 7
    together = draws.uniforms(5, episodes, steps, 3)
    assert np.array_equal(together[10:11], draws.uniforms(5, episodes[10:11], steps[10:11], 3))
    assert together.min() >= 0
    assert together.max() < 1
    assert abs(together.mean() - 0.5) < 0.02
    assert len(np.unique(together)) == together.size
    assert not np.array_equal(together, draws.uniforms(6, episodes, steps, 3))
