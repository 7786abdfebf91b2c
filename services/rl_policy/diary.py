"""What is written of episodes as they go: beginnings, transitions, rewards, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from services.kit.errors import TrunklineError
from services.rl_policy.accounts import Account, Accounts
from services.rl_policy.algorithms.algorithm import Bools, Transitions
from services.rl_policy.episodes import Run, Stage, Step, transitions
from services.rl_policy.served import Served
from services.rl_policy.store.records import Episode, Joined, Phase, Reward
from services.rl_policy.store.store import Store

LATER_S = 0.02
"""How long what nobody waits for waits for company: a commit costs as much for one row as for many."""
LATER_MOST = 512

T = TypeVar("T")
Write = Callable[[], "asyncio.Future[Any]"]


class Diary:
    """Writes for all episodes of one process. `clock` gives Unix seconds. For one event loop.

    Writes go to disk in the order in which they are asked for; `soon` False lets one wait for others.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._served: dict[str, Served] = {}
        self._accounts = Accounts(self._settled)
        self._later: list[tuple[Write, asyncio.Future[Any]]] = []
        self._steps: dict[tuple[str, Stage], tuple[list[tuple[Step, Account]], asyncio.Future[int]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._clock()

    def number(self, count: int = 1) -> int:
        """Return the first of `count` new numbers in a row."""
        return self._store.ids.take(count)

    def begin(self, served: Served, episode: Episode, *, soon: bool = True) -> asyncio.Future[None]:
        """Write an episode's beginning; the future ends when it is on disk."""
        self._served[served.name] = served
        return self._write(lambda: self._store.episodes.start(episode), soon=soon)

    def keep(
        self,
        served: Served,
        stage: Stage,
        batch: Transitions,
        settled: Bools,
        accounts: Sequence[Account],
        *,
        soon: bool = True,
    ) -> asyncio.Future[int]:
        """Write transitions (B,) of episodes with these accounts; the future ends when they are on disk."""
        saved = self._write(lambda: self._append(served, stage, batch, settled), soon=soon)
        self._enter(batch, settled, accounts)
        return saved

    def keep_step(self, served: Served, run: Run, step: Step) -> asyncio.Future[int]:
        """Write one transition that nobody waits for, with those of others as one; as `keep`."""
        key = (served.name, run.stage)
        if key not in self._steps:
            steps: list[tuple[Step, Account]] = []
            done = self._write(lambda: self._keep_steps(served, run.stage, steps), soon=False)
            self._steps[key] = steps, done
        steps, done = self._steps[key]
        steps.append((step, run.account))
        return done

    def end(
        self, account: Account, phase: Phase, steps: int, in_time: float, *, soon: bool = True
    ) -> asyncio.Future[None]:
        """Write an episode's end; `in_time`: the sum of its rewards that came with their step."""
        number, now = account.episode, self._clock()
        end = self._store.episodes.end
        ended = self._write(lambda: end(number, phase, steps, in_time, now), soon=soon)
        self._accounts.end(account)
        return ended

    def flush(self) -> None:
        """Write what waits for company."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        later, self._later, self._steps = self._later, [], {}
        for write, done in later:
            _pass_on(write, done)

    async def reward(self, served: Served, rewards: Sequence[Reward]) -> Joined:
        """Write rewards that come on their own; return when they are on disk."""
        self.flush()
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

    def _keep_steps(
        self, served: Served, stage: Stage, steps: Sequence[tuple[Step, Account]]
    ) -> asyncio.Future[int]:
        batch, settled = transitions([step for step, _ in steps])
        self._enter(batch, settled, [account for _, account in steps])
        return self._append(served, stage, batch, settled)

    def _enter(self, batch: Transitions, settled: Bools, accounts: Sequence[Account]) -> None:
        for index, account in enumerate(accounts):
            if settled[index]:
                self._accounts.earn(account, float(batch.reward[index]))
            else:
                self._accounts.await_reward(account, int(batch.decision_id[index]))

    def _append(
        self, served: Served, stage: Stage, batch: Transitions, settled: Bools
    ) -> asyncio.Future[int]:
        log = served.log_of(stage)
        saved = self._store.log.append(log, batch, None if settled.all() else settled)
        if log == served.log:
            saved.add_done_callback(lambda _: served.training.wake())
        return saved

    def _write(self, write: Callable[[], asyncio.Future[T]], *, soon: bool) -> asyncio.Future[T]:
        if soon:
            self.flush()
            return write()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._later.append((write, done))
        if len(self._later) >= LATER_MOST:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(LATER_S, self.flush)
        return done

    def _settled(self, account: Account) -> None:
        served = self._served.get(account.policy)
        if served is not None:
            served.settle(account)


def _pass_on(write: Write, done: asyncio.Future[Any]) -> None:
    """Write, and let `done` come to what comes of it."""

    def written(outcome: asyncio.Future[Any]) -> None:
        if done.done():
            return
        error = outcome.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(outcome.result())

    try:
        write().add_done_callback(written)
    except TrunklineError as error:  # refused at once: too much waits
        if not done.done():
            done.set_exception(error)
