"""The policies: created, found, loaded when they are first wanted, and their training taken up again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.kit.errors import FailedPrecondition, Reason, TrunklineError, Unavailable
from services.rl_policy.acting import Brain
from services.rl_policy.algorithms.algorithm import Array, State
from services.rl_policy.episodes import Stage
from services.rl_policy.served import Served, specification_of
from services.rl_policy.shelf import Shelf
from services.rl_policy.specification import Specification
from services.rl_policy.store.records import PolicyRecord, Version
from services.rl_policy.store.store import Store
from services.rl_policy.traffic import Traffic
from services.rl_policy.trainer import Assignment, MakeTrainer
from services.rl_policy.training import Status, TrainingPlan

_LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a training is taken up whose learner is lost at its start."""


class Registry:
    """All policies of one process. For one event loop."""

    def __init__(self, store: Store, make: MakeTrainer, *, trains: bool = True) -> None:
        self._store = store
        self._trains = trains
        self._make = make
        self._shelf = Shelf(store)
        self._served: dict[str, Served] = {}
        self._loading = asyncio.Lock()

    async def create(self, name: str, specification: Specification) -> Served:
        """Create a policy with its first version; the same again returns what is here.

        Raises InvalidArgument where the algorithm cannot learn in these spaces, and AlreadyExists.
        """
        weights, state = await asyncio.to_thread(_first, specification)
        await asyncio.to_thread(self._create, name, specification, weights, state)
        return await self.get(name)

    async def get(self, name: str) -> Served:
        """Return a policy; raises NotFound (POLICY_NOT_FOUND)."""
        if name in self._served:
            return self._served[name]
        async with self._loading:
            if name not in self._served:
                record = await asyncio.to_thread(self._store.policies.get, name)
                self._served[name] = await self._serve(record)
        return self._served[name]

    async def list(self) -> Sequence[Served]:
        """Return all policies."""
        records = await asyncio.to_thread(self._store.policies.list)
        return [await self.get(record.name) for record in records]

    async def resume(self) -> None:
        """Take up the trainings that ran when the service ended, unless this replica only acts."""
        if not self._trains:
            return
        for record in await asyncio.to_thread(self._store.policies.list):
            served = await self.get(record.name)
            if not served.training.active:
                continue
            await self._take_up(served)

    async def _take_up(self, served: Served) -> None:
        """Train on; a learner that was lost before it learned is started again, up to ATTEMPTS times."""
        plan, status = served.training.plan, served.training.status
        for _ in range(ATTEMPTS):
            served.training.status = Status(version=status.version, episodes=status.episodes)
            try:
                await self.train(served, plan, None)
            except TrunklineError as error:
                cause = {"policy": served.name, "cause": str(error)}
                _LOGGER.warning("training is not taken up", extra=cause)
                if not isinstance(error, Unavailable):
                    return
            else:
                return

    async def train(self, served: Served, plan: TrainingPlan, from_version: int | None) -> Status:
        """Start to learn, from `from_version` or the newest checkpoint on.

        Raises FailedPrecondition (TRAINING_STATE) in a replica that only acts.
        """
        if not self._trains:
            named = {"policy": served.name, "state": "IDLE"}
            message = "this replica only acts; another one trains"
            raise FailedPrecondition(Reason.TRAINING_STATE, message, metadata=named)
        version = from_version
        if version is None:
            newest = await asyncio.to_thread(self._store.versions.newest, served.name, resumable=True)
            version = newest.number if newest else 1
        else:
            await asyncio.to_thread(self._store.versions.get, served.name, version)
        safety = served.specification.safety
        assignment = Assignment(
            served.name,
            served.specification.plan,
            version,
            plan.budget,
            plan.checkpoint_interval_s,
            (safety.min_reward, safety.max_reward),
        )
        status = await served.training.start(assignment, plan)
        await served.save()
        return status

    async def delete(self, name: str) -> None:
        """Delete a policy with everything of it; raises FailedPrecondition while it trains."""
        served = await self.get(name)
        if served.training.active:
            named = {"policy": name, "state": str(served.training.status.state)}
            message = f"policy {name!r} is being trained"
            raise FailedPrecondition(Reason.TRAINING_STATE, message, metadata=named)
        del self._served[name]
        await served.close()
        self._shelf.clear(name)
        for stage in (Stage.LIVE, Stage.EVALUATION):
            await asyncio.to_thread(self._store.log.trim, f"{name}/{stage}", 0)
        await asyncio.to_thread(self._store.forget, name)

    @asynccontextmanager
    async def following(self, interval: float) -> AsyncIterator[None]:
        """Let act what other processes publish and promote, every `interval` seconds; 0: not at all."""
        task = asyncio.create_task(self._follow(interval)) if interval else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    async def _follow(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            for served in list(self._served.values()):
                try:
                    await served.follow()
                except TrunklineError as error:
                    _LOGGER.warning("not followed", extra={"policy": served.name, "cause": str(error)})

    async def close(self) -> None:
        """Keep what was learned, and end every learner."""
        await asyncio.gather(*(each.close() for each in self._served.values()))

    def _create(
        self, name: str, specification: Specification, weights: dict[str, Array], state: State
    ) -> None:
        first = {"traffic": Traffic().document(), "training": {}}
        self._store.policies.create(name, specification.document(), first)
        if self._store.versions.newest(name) is None:
            version = Version(name, 0, specification.plan.algorithm, origin="created")
            self._store.versions.publish(version, weights, state)

    async def _serve(self, record: PolicyRecord) -> Served:
        specification = specification_of(record)
        newest = await asyncio.to_thread(self._store.versions.newest, record.name)
        number = newest.number if newest else 1
        brain: Brain = await self._shelf.get(record.name, specification, number)
        return Served(record, brain, self._store, self._shelf, self._make)


def _first(specification: Specification) -> tuple[dict[str, Array], State]:
    """Return an untrained policy's weights, and where its learning begins."""
    learner = specification.plan.learner()
    return dict(learner.policy().weights()), learner.state()
