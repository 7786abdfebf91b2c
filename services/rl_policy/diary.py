"""What is written of episodes as they go: beginnings, transitions, rewards, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.rl_policy.accounts import Account, Accounts
from services.rl_policy.algorithms.algorithm import Bools, Transitions
from services.rl_policy.episodes import Stage
from services.rl_policy.served import Served
from services.rl_policy.store.records import Episode, Joined, Phase, Reward
from services.rl_policy.store.store import Store


class Diary:
    """Writes for all episodes of one process. `clock` gives Unix seconds. For one event loop."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._served: dict[str, Served] = {}
        self._accounts = Accounts(self._settled)

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._clock()

    def number(self, count: int = 1) -> int:
        """Return the first of `count` new numbers in a row."""
        return self._store.ids.take(count)

    def begin(self, served: Served, episode: Episode) -> asyncio.Future[None]:
        """Write an episode's beginning; the future ends when it is on disk."""
        self._served[served.name] = served
        return self._store.episodes.start(episode)

    def keep(
        self, served: Served, stage: Stage, batch: Transitions, settled: Bools, accounts: Sequence[Account]
    ) -> asyncio.Future[int]:
        """Write transitions (B,) of episodes with these accounts; the future ends when they are on disk."""
        log = served.log_of(stage)
        saved = self._store.log.append(log, batch, None if settled.all() else settled)
        for index, account in enumerate(accounts):
            if settled[index]:
                self._accounts.earn(account, float(batch.reward[index]))
            else:
                self._accounts.await_reward(account, int(batch.decision_id[index]))
        if log == served.log:
            saved.add_done_callback(lambda _: served.training.wake())
        return saved

    def end(self, account: Account, phase: Phase, steps: int, in_time: float) -> asyncio.Future[None]:
        """Write an episode's end; `in_time`: the sum of its rewards that came with their step."""
        ended = self._store.episodes.end(account.episode, phase, steps, in_time, self._clock())
        self._accounts.end(account)
        return ended

    async def reward(self, served: Served, rewards: Sequence[Reward]) -> Joined:
        """Write rewards that come on their own; return when they are on disk."""
        self._served[served.name] = served
        rewards = self._accounts.attributed(served.name, rewards)
        joined = await self._store.rewards.send(rewards)
        if not joined.duplicates:
            unknown = set(joined.unknown)
            self._accounts.arrived([each for each in rewards if each.decision_id not in unknown])
        served.training.wake()
        return joined

    async def find(self, number: int) -> Episode:
        """Return an episode as it is written; raises NotFound (EPISODE_NOT_FOUND)."""
        return await asyncio.to_thread(self._store.episodes.get, number)

    def _settled(self, account: Account) -> None:
        served = self._served.get(account.policy)
        if served is not None:
            served.settle(account)
