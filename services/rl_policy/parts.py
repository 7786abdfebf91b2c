"""The domain put together: what the rpcs speak to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Self

from opentelemetry.trace import Tracer

from services.rl_policy.acting import Batcher
from services.rl_policy.diary import Diary
from services.rl_policy.evaluating import Judge
from services.rl_policy.play import Play
from services.rl_policy.registry import Registry
from services.rl_policy.runs import RunLimits, Runs
from services.rl_policy.store.store import Store
from services.rl_policy.trainer import MakeTrainer


@dataclass(frozen=True)
class Parts:
    """One process's."""

    store: Store
    registry: Registry
    diary: Diary
    runs: Runs
    play: Play
    judge: Judge

    async def close(self) -> None:
        """Write what waits, keep what was learned, end every learner."""
        self.diary.flush()
        await self.registry.close()

    @classmethod
    def of(
        cls,
        store: Store,
        make: MakeTrainer,
        limits: RunLimits,
        max_questions: int,
        *,
        tracer: Tracer,
        clock: Callable[[], float] = time,
        trains: bool = True,
    ) -> Self:
        """Return them, around a store; `clock` gives Unix seconds. `trains` False: it only acts."""
        registry = Registry(store, make, trains=trains)
        diary = Diary(store, clock)
        runs = Runs(registry, diary, limits)
        return cls(
            store,
            registry,
            diary,
            runs,
            Play(registry, runs, diary, Batcher(max_questions, tracer)),
            Judge(store),
        )
