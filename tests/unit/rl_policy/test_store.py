"""Policies, episodes, versions, recordings and samples: kept, found again, and gone when told so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.kit.errors import Aborted, AlreadyExists, NotFound
from services.kit.settings import SettingsError
from services.rl_policy.store import replay
from services.rl_policy.store.database import Database
from services.rl_policy.store.records import Cursor, Episode, Incident, Phase, Reward, Version
from services.rl_policy.store.store import LearnersStore, Store
from tests.unit.rl_policy.walks import same, walk

WEIGHTS = {"q": np.arange(6, dtype=np.float64).reshape(2, 3), "kind": np.frombuffer(b"table", np.uint8)}
STATE = {"generator": np.array([1, 2**63], np.uint64), "steps": 7, "epsilon": 0.1, "algorithm": "dqn"}


async def _episode(store: Store, steps: int, *, policy: str = "p", seed: int = 0, **more: object) -> int:
    number = store.ids.take()
    await store.episodes.start(Episode(number, policy, 1, started_at=5.0, **more))  # type: ignore[arg-type]
    await store.log.append(policy, walk(store.ids, steps, episode=number, seed=seed))
    await store.episodes.end(number, Phase.TERMINATED, steps, float(steps), 6.0)
    return number


def test_a_policy_created_again_is_the_one_that_is_there(store: Store):
    made = store.policies.create("p", {"seed": 1}, {"stable": 1})

    assert store.policies.create("p", {"seed": 1}, {"stable": 1}) == made
    assert store.policies.get("p") == made
    with pytest.raises(AlreadyExists):
        store.policies.create("p", {"seed": 2}, {})


def test_of_two_who_change_a_policy_one_is_told_that_it_changed(store: Store):
    made = store.policies.create("p", {}, {"stable": 1})

    changed = store.policies.change("p", {"stable": 2}, made.revision)

    assert changed.state == {"stable": 2}
    with pytest.raises(Aborted):
        store.policies.change("p", {"stable": 3}, made.revision)
    with pytest.raises(NotFound):
        store.policies.change("other", {}, 1)


async def test_an_episode_counts_rewards_that_came_late(store: Store):
    number = await _episode(store, 3, tags={"site": "a"}, variant="canary")
    decision = int(store.log.read("p", Cursor()).transitions.decision_id[0])

    await store.rewards.send([Reward(decision, "late", 4.0, episode=number)])

    kept = store.episodes.get(number)
    assert (kept.total, kept.steps, kept.phase, kept.variant) == (7.0, 3, Phase.TERMINATED, "canary")
    assert kept.tags == {"site": "a"}
    assert store.episodes.totals("p", 1).tolist() == [7.0]
    assert store.episodes.list("p", running=True) == []
    with pytest.raises(NotFound):
        store.episodes.get(number + 1)


def test_a_version_and_its_checkpoint_come_back_bit_for_bit(url: str):
    with LearnersStore(url) as learner:
        kept = learner.versions.publish(
            Version("p", 0, "q_learning", cursor=Cursor(9, 2), metrics={"loss": 0.5}), WEIGHTS, STATE
        )
        plain = learner.versions.publish(Version("p", 0, "q_learning", parent=kept.number), WEIGHTS)
    with Store(url) as store:
        assert store.versions.get("p", 1) == kept
        assert store.versions.newest("p") == plain
        assert store.versions.newest("p", resumable=True) == kept
        weights, state = store.versions.weights("p", 1), dict(store.versions.checkpoint("p", 1))
    assert {name: (each.dtype, each.tobytes()) for name, each in weights.items()} == {
        name: (each.dtype, each.tobytes()) for name, each in WEIGHTS.items()
    }
    assert state.pop("generator").tolist() == [1, 2**63]
    assert state == {"steps": 7, "epsilon": 0.1, "algorithm": "dqn"}


def test_a_faulty_version_is_never_the_newest(store: Store):
    good = store.versions.publish(Version("p", 0, "dqn"), WEIGHTS, STATE)
    bad = store.versions.publish(Version("p", 5, "dqn"), WEIGHTS)

    store.versions.fault("p", bad.number, "its loss was not a number")

    assert bad.number == 5
    assert store.versions.newest("p") == good
    assert [each.fault for each in store.versions.before("p")] == ["its loss was not a number", ""]
    assert store.versions.trim("p", keep=0) == 1
    assert store.versions.newest("p", resumable=True) is None
    with pytest.raises(NotFound):
        store.versions.checkpoint("p", good.number)
    with pytest.raises(Aborted):
        store.versions.publish(Version("p", 3, "dqn"), WEIGHTS)


def test_incidents_are_listed_in_both_orders(store: Store):
    first = store.incidents.record(Incident("p", "DIVERGED", "a loss", {"version": "3"}))
    second = store.incidents.record(Incident("p", "ROLLED_BACK", "a drop"))

    assert store.incidents.list("p") == [first, second]
    assert store.incidents.before("p", second.number) == [first]


async def test_whole_episodes_are_found_by_page_tag_and_version(store: Store):
    numbers = [
        await _episode(store, 2 + index, seed=index, tags={"odd": str(index % 2)}) for index in range(5)
    ]
    running = store.ids.take()
    await store.episodes.start(Episode(running, "p", 1))
    await store.log.append("p", walk(store.ids, 2, episode=running))
    live = store.ids.take()
    await store.episodes.start(Episode(live, "p", 1))
    await store.log.append("p/live", walk(store.ids, 4, episode=live))
    await store.episodes.end(live, Phase.TRUNCATED, 4, 4.0, 7.0)
    await store.log.append("p0", walk(store.ids, 4, episode=live))
    numbers.append(live)

    first, after = store.recordings.page("p", limit=3)
    second, end = store.recordings.page("p", after, limit=4)
    odd, _ = store.recordings.page("p", tags={"odd": "1"}, version=1)

    assert [each.episode.number for each in (*first, *second)] == numbers
    assert end == 0
    assert [len(each.transitions) for each in first] == [2, 3, 4]
    assert all(each.transitions.step.tolist() == list(range(each.episode.steps)) for each in first)
    assert [each.episode.number for each in odd] == [numbers[1], numbers[3]]
    assert [each.episode.number for each in store.recordings.newest("p", 2)] == numbers[-2:]
    assert store.recordings.newest("p", 2, version=9) == []


async def test_a_sample_is_the_same_for_the_same_seed(store: Store):
    for seed in range(3):
        await _episode(store, 20, seed=seed)

    one, again = replay.sample(store.log, "p", 50, seed=7), replay.sample(store.log, "p", 50, seed=7)
    late = replay.sample(store.log, "p", 50, seed=7, window=5)

    assert one is not None
    assert again is not None
    assert same(one, again)
    assert late is not None
    assert set(late.step.tolist()) <= set(range(15, 20))
    assert replay.sample(store.log, "other", 1, seed=0) is None


async def test_nothing_of_a_forgotten_policy_stays(store: Store):
    store.policies.create("p", {}, {})
    number = await _episode(store, 3)
    await _episode(store, 3, policy="q")
    await store.log.append("p/live", walk(store.ids, 4))
    store.versions.publish(Version("p", 0, "dqn"), WEIGHTS, STATE)

    store.forget("p")

    assert store.log.bounds("p") == (0, 0)
    assert store.log.names("p") == ["p"]
    assert store.log.bounds("q") == (0, 3)
    assert store.versions.newest("p") is None
    with pytest.raises(NotFound):
        store.episodes.get(number)
    with pytest.raises(NotFound):
        store.forget("p")


@pytest.mark.parametrize("url", ["mysql://here/x", "no url", "sqlite://", "sqlite:////proc/nowhere/x.db"])
def test_a_url_that_cannot_be_used_ends_the_process_with_a_sentence(url: str):
    with pytest.raises(SettingsError, match="database"):
        Database.open(url)


async def test_one_write_that_fails_spoils_no_other(store: Store):
    number = store.ids.take()
    first = store.episodes.start(Episode(number, "p", 1))
    twice = store.episodes.start(Episode(number, "p", 1))
    kept = store.log.append("p", walk(store.ids, 2))

    assert await first is None
    with pytest.raises(Exception, match="store"):
        await twice
    assert await kept == 0
    assert replace(store.episodes.get(number), tags={}) == Episode(number, "p", 1)
