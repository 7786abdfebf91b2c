from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.recommender.entities import History
from services.recommender.store.event_log import WriteMode
from services.recommender.store.histories import Histories, HistoryLimits
from services.recommender.store.store import RecommenderStore
from tests.unit.recommender.store.records import NOW, event, history, item_ids


def same(one: Sequence[History], other: Sequence[History]) -> bool:
    return all(
        a.rows.tolist() == b.rows.tolist()
        and a.types == b.types
        and a.values.tolist() == b.values.tolist()
        and a.times.tolist() == b.times.tolist()
        for a, b in zip(one, other, strict=True)
    )


async def test_a_history_kept_up_is_the_history_read_again(store: RecommenderStore) -> None:
    users = [f"user-{number}" for number in range(7)]
    await store.histories.of(users)
    for turn in range(30):
        mode = WriteMode(turn % 3)
        events = [
            event(
                users[(turn * each) % 7], f"item-{(turn + each) % 5}", timestamp=NOW + (turn * 7 + each) % 11
            )
            for each in range(9)
        ]
        await store.log.append(events, mode)
        if turn % 4 == 0:
            await store.histories.of(users[:3])
    kept = await store.histories.of(users)
    store.histories.clear()
    # Of events at one time those that were overwritten and came again stand last: compare as they are read.
    assert same(kept, await store.histories.of(users))


async def test_events_that_come_while_a_history_is_read_count_once(store: RecommenderStore) -> None:
    await store.log.append([event(item_id="tea")])
    reading = [asyncio.create_task(store.histories.of(["ann"])) for _ in range(5)]
    await asyncio.gather(*(store.log.append([event(item_id=each)]) for each in ("milk", "rice")))
    await asyncio.gather(*reading)
    assert await history(store, "ann") == ["tea", "milk", "rice"]


async def test_a_history_is_ordered_by_time_and_holds_the_latest(store: RecommenderStore) -> None:
    histories = Histories(store.database, HistoryLimits(events=3))
    store.log.listen(histories.record)
    await store.log.append([event(item_id=each, timestamp=NOW + int(each)) for each in ("3", "1", "2", "4")])
    assert item_ids(store, (await histories.of(["ann"]))[0].rows) == ["1", "2", "4"]
    await store.log.append([event(item_id="5", timestamp=NOW + 3.5)])
    assert item_ids(store, (await histories.of(["ann"]))[0].rows) == ["2", "5", "4"]


async def test_an_unknown_user_has_an_empty_history(store: RecommenderStore) -> None:
    assert [len(each) for each in await store.histories.of(["nobody", "none"])] == [0, 0]
    assert store.histories.at_hand("nobody") is not None
    assert store.histories.at_hand("never asked for") is None


async def test_memory_is_bounded_by_entries_and_by_bytes(store: RecommenderStore) -> None:
    await store.log.append([event(f"user-{each % 50}", f"item-{each}") for each in range(1_000)])
    users = [f"user-{each}" for each in range(50)]
    few = Histories(store.database, HistoryLimits(entries=10))
    assert all(len(each) == 20 for each in await few.of(users))
    assert few.entries == 10
    assert few.latest_users(3) == ["user-49", "user-48", "user-47"]
    small = Histories(store.database, HistoryLimits(bytes=5_000))
    assert all(len(each) == 20 for each in await small.of(users))
    assert 0 < small.bytes <= 5_000
    assert small.forget("user-49") == 1


async def test_bytes_come_and_go_with_what_is_kept(store: RecommenderStore) -> None:
    await store.log.append([event(item_id=f"item-{each}") for each in range(100)])
    await store.histories.of(["ann"])
    for number in range(5):
        await store.log.append([event(item_id=f"more-{number}"), event(item_id="again", session_id="s")])
        await store.histories.of_sessions(["s"])
    store.histories.forget("ann", ["s"])
    assert (store.histories.entries, store.histories.bytes) == (0, 0)


async def test_a_session_ends_when_nothing_happens_in_it(store: RecommenderStore) -> None:
    now = NOW
    histories = Histories(store.database, HistoryLimits(session_ttl_s=60.0), clock=lambda: now)
    store.log.listen(histories.record)
    await store.log.append([event("", "tea", session_id="s", timestamp=NOW), event("", "x", session_id="t")])
    assert item_ids(store, (await histories.of_sessions(["s"]))[0].rows) == ["tea"]
    now = NOW + 61
    assert len((await histories.of_sessions(["s"]))[0]) == 0
    await store.log.append([event("ann", "milk", session_id="s", timestamp=NOW + 50)])
    assert item_ids(store, (await histories.of_sessions(["s"]))[0].rows) == ["tea", "milk"]


async def test_those_active_last_can_be_read_beforehand(store: RecommenderStore) -> None:
    await store.log.append([event(f"user-{each}") for each in range(20)])
    await store.histories.warm(3)
    assert set(store.histories.latest_users(10)) == {"user-17", "user-18", "user-19"}
