"""The log of transitions: durable, in one order, and read with whole rewards only."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.kit.errors import Unavailable
from services.rl_policy.algorithms.algorithm import Transitions, joined
from services.rl_policy.store.records import Cursor, Reward
from services.rl_policy.store.store import LearnersStore, Store
from tests.unit.rl_policy.walks import same, walk

HOURS = 3_600.0


def _read_all(store: Store | LearnersStore, policy: str, limit: int) -> list[Transitions]:
    cursor, parts = Cursor(), []
    while len((released := store.log.read(policy, cursor, limit, patience=HOURS)).transitions):
        parts.append(released.transitions)
        cursor = released.cursor
    return parts


async def test_what_was_acknowledged_is_there_when_the_database_is_opened_again(url: str):
    with Store(url) as store:
        kept = walk(store.ids, 7)
        assert await store.log.append("p", kept) == 0
    with LearnersStore(url) as reader:
        assert same(reader.log.read("p", Cursor()).transitions, kept)


async def test_a_crowd_of_callers_gets_positions_without_gaps_and_each_its_own(store: Store):
    walks = [walk(store.ids, 1 + index % 3, episode=index, seed=index) for index in range(200)]

    positions = await asyncio.gather(*(store.log.append("p", each) for each in walks))

    assert store.log.bounds("p") == (0, sum(map(len, walks)))
    for position, each in zip(positions, walks, strict=True):
        assert same(store.log.range("p", position, position + len(each)), each)


@pytest.mark.parametrize("limit", [1, 5, 1_000])
async def test_any_size_of_reading_gives_the_same_transitions(store: Store, limit: int):
    walks = [walk(store.ids, 8, seed=seed) for seed in range(4)]
    for each in walks:
        await store.log.append("p", each)
        await store.log.append("another", walk(store.ids, 3))

    assert same(joined(_read_all(store, "p", limit)), joined(walks))


async def test_rewards_shuffled_and_late_are_read_as_rewards_in_time(store: Store):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(300, 2))
    in_time = walk(store.ids, 300, rewards=values.sum(axis=1))
    late = walk(store.ids, 300, rewards=np.zeros(300))
    await store.log.append("late", late, np.zeros(300, np.bool_))
    parts = [
        Reward(int(late.decision_id[row]), f"part-{part}", values[row, part], final=False)
        for row in range(300)
        for part in range(2)
    ]
    rng.shuffle(parts)  # type: ignore[arg-type]
    await asyncio.gather(*(store.rewards.send([each]) for each in parts))
    assert store.log.read("late", Cursor(), patience=HOURS).waiting
    await store.rewards.send([Reward(int(each), "all", 0.0) for each in rng.permutation(late.decision_id)])

    released = store.log.read("late", Cursor(), 1_000, patience=HOURS)

    assert (released.transitions.reward == in_time.reward).all()
    assert released.corrections == ()


async def test_a_transition_without_its_reward_holds_back_what_follows(store: Store):
    kept = walk(store.ids, 4, rewards=[1, 0, 3, 4])
    await store.log.append("p", kept, np.array([True, False, True, True]))

    before = store.log.read("p", Cursor(), patience=HOURS)
    await store.rewards.send([Reward(int(kept.decision_id[1]), "", 2.0)])
    after = store.log.read("p", before.cursor, patience=HOURS)

    assert before.transitions.reward.tolist() == [1]
    assert before.waiting
    assert after.transitions.reward.tolist() == [2, 3, 4]
    assert not after.waiting


async def test_patience_ends_and_what_comes_afterwards_is_a_correction(store: Store):
    kept = walk(store.ids, 3, rewards=[0, 0, 0])
    await store.log.append("p", kept, np.zeros(3, np.bool_))
    first = store.log.read("p", Cursor(), patience=0)
    decision = int(kept.decision_id[2])
    await store.rewards.send([Reward(decision, "a", 2.0), Reward(decision, "b", 0.5)])

    second = store.log.read("p", first.cursor, patience=0)
    third = store.log.read("p", second.cursor, patience=0)

    assert len(first.transitions) == 3
    assert [(each.position, each.amount) for each in second.corrections] == [(2, 2.5)]
    assert third.corrections == ()
    assert store.log.range("p", 2, 3, first.cursor.rewards).reward.tolist() == [0]
    assert store.log.range("p", 2, 3, second.cursor.rewards).reward.tolist() == [2.5]


async def test_a_reward_sent_twice_counts_once_and_one_of_no_decision_is_named(store: Store):
    kept = walk(store.ids, 1, rewards=[0])
    await store.log.append("p", kept, np.zeros(1, np.bool_))
    decision = int(kept.decision_id[0])
    stranger = store.ids.take() + 1

    first = await store.rewards.send([Reward(decision, "click", 1.0), Reward(decision, "click", 1.0)])
    second = await store.rewards.send([Reward(decision, "click", 1.0), Reward(stranger, "click", 1.0)])

    assert (first.accepted, first.duplicates) == (1, 1)
    assert (second.accepted, second.duplicates, second.unknown) == (0, 1, (stranger,))
    assert store.log.read("p", Cursor()).transitions.reward.tolist() == [1.0]


async def test_numbers_of_decisions_differ_between_processes_and_are_known_to_all(url: str):
    with Store(url) as one, Store(url) as other:
        first, second = one.ids.take(10), other.ids.take()
        assert first != second
        assert one.ids.known(second)
        assert other.ids.known(first + 9)
        assert not other.ids.known(first >> 30)


async def test_two_processes_append_to_one_log(url: str):
    with Store(url) as one, Store(url) as other:
        await asyncio.gather(
            *(
                each.log.append("p", walk(each.ids, 2, episode=index))
                for index in range(30)
                for each in (one, other)
            )
        )
        assert other.log.bounds("p") == (0, 120)
        assert sorted(one.log.range("p", 0, 120).episode.tolist()) == sorted(list(range(30)) * 4)


async def test_a_trimmed_log_begins_later_and_keeps_its_positions(store: Store):
    for seed in range(5):
        await store.log.append("p", walk(store.ids, 10, seed=seed, episode=seed))

    assert store.log.trim("p", keep=25) == 20
    released = store.log.read("p", Cursor(3))

    assert store.log.bounds("p") == (20, 50)
    assert released.first == 20
    assert set(released.transitions.episode.tolist()) == {2, 3, 4}


async def test_after_the_end_nothing_is_accepted(store: Store):
    kept = walk(store.ids, 1)
    with store:
        pass
    with pytest.raises(Unavailable):
        await store.log.append("p", kept)
