"""A policy in service: what acts in its episodes, its traffic, its training; and what of it outlives us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from services.kit.errors import Aborted
from services.rl_policy import training as trainings
from services.rl_policy.accounts import Account
from services.rl_policy.acting import Brain
from services.rl_policy.algorithms.algorithm import Array
from services.rl_policy.algorithms.policies.loading import load
from services.rl_policy.episodes import Stage
from services.rl_policy.shelf import Shelf
from services.rl_policy.specification import Specification
from services.rl_policy.store.records import Incident, PolicyRecord
from services.rl_policy.store.store import Store
from services.rl_policy.traffic import CANARY, STABLE, Returns, Traffic, verdict
from services.rl_policy.trainer import MakeTrainer, Progress, TrainingState
from services.rl_policy.training import Training

_LOGGER = logging.getLogger(__name__)


@dataclass
class Shadow:
    """How often the shadow would have done the same."""

    version: int = 0
    compared: int = 0
    agreed: int = 0


class Served:
    """One policy. For one event loop; what is written goes through one lock, on a thread."""

    def __init__(
        self, record: PolicyRecord, newest: Brain, store: Store, shelf: Shelf, make: MakeTrainer
    ) -> None:
        plan, status = trainings.of_document(record.state.get("training", {}))
        self.record = record
        self.specification = newest.specification
        self.newest = newest
        """What training episodes act by: the version kept last, and what was learned since."""
        self.traffic = Traffic.of(record.state.get("traffic", {}))
        self.training = Training(record.name, make, self._progressed, status)
        self.training.plan = plan
        self.returns: dict[int, Returns] = {}
        self.shadow = Shadow(self.traffic.shadow)
        self._store = store
        self._shelf = shelf
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.record.name

    @property
    def log(self) -> str:
        """The log that learning reads."""
        return self.record.name

    def log_of(self, stage: Stage) -> str:
        """Return the log that an episode's transitions go to: only what is learned from goes to `log`."""
        learned = stage is Stage.TRAINING or (stage is Stage.LIVE and self.training.plan.learn_from_live)
        return self.log if learned else f"{self.record.name}/{stage}"

    async def brain(self, version: int) -> Brain:
        """Return a version as it was kept, ready to act; raises as `Shelf.get`."""
        return await self._shelf.get(self.name, self.specification, version)

    async def set_traffic(self, traffic: Traffic) -> None:
        """Share the traffic so from the next episode on; the versions in it are loaded first."""
        for version in {traffic.stable, traffic.canary, traffic.shadow} - {0}:
            await self._shelf.get(self.name, self.specification, version)
        if traffic.shadow != self.shadow.version:
            self.shadow = Shadow(traffic.shadow)
        for version in {traffic.stable, traffic.canary} - {0}:
            await self._count(version)
        self.traffic = traffic
        await self.save()

    async def catch_up(self) -> None:
        """Let the newest version that is kept act, where it is newer than what does."""
        newest = await asyncio.to_thread(self._store.versions.newest, self.name)
        if newest is not None and newest.number > self.newest.version:
            self.newest = await self._shelf.get(self.name, self.specification, newest.number)

    async def follow(self) -> None:
        """Take over what another process has published or promoted, and tell the learner to look."""
        if not self.training.active:
            await self.catch_up()
        self.training.wake()
        record = await asyncio.to_thread(self._store.policies.get, self.name)
        if record.revision > self.record.revision and not self._writing.locked():
            self.record = record
            self.traffic = Traffic.of(record.state.get("traffic", {}))

    async def set_shadow(self, version: int) -> None:
        """Ask a version beside the one that acts; 0: none."""
        await self.set_traffic(replace(self.traffic, shadow=version))

    async def returns_of(self, version: int) -> Returns:
        """Return the live returns of a version."""
        await self._count(version)
        return self.returns[version]

    def settle(self, account: Account) -> None:
        """Take in an episode that has ended with its whole return."""
        if account.stage == Stage.TRAINING:
            self.training.note_return(account.total)
        if account.stage != Stage.LIVE or account.variant not in {STABLE, CANARY}:
            return
        before = self.returns.get(account.version, Returns())
        self.returns[account.version] = before.with_one(account.total)
        if self.traffic.canary and account.version == self.traffic.canary:
            self._judge()

    async def report(self, kind: str, message: str, details: Mapping[str, str]) -> None:
        """Write an incident."""
        incident = Incident(self.name, kind, message, dict(details))
        _LOGGER.warning("an incident", extra={"policy": self.name, "kind": kind, "cause": message})
        await asyncio.to_thread(self._store.incidents.record, incident)

    async def save(self) -> None:
        """Write what changes of the policy; whoever wrote last has the say."""
        async with self._writing:
            try:
                self.record = await self._write(self.record.revision)
            except Aborted:
                self.record = await asyncio.to_thread(self._store.policies.get, self.name)
                self.record = await self._write(self.record.revision)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def close(self) -> None:
        """Keep what was learned, and end what runs; training goes on when the policy is served again."""
        status = self.training.status
        await self.training.stop(status.state)
        self.training.status = status
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, revision: int) -> PolicyRecord:
        state = {
            "traffic": self.traffic.document(),
            "training": trainings.document(self.training.plan, self.training.status),
        }
        return await asyncio.to_thread(self._store.policies.change, self.name, state, revision)

    async def _count(self, version: int) -> None:
        if version not in self.returns:
            totals = await asyncio.to_thread(
                self._store.episodes.totals, self.name, version, Stage.LIVE.value
            )
            count, mean = len(totals), float(totals.mean()) if len(totals) else 0.0
            self.returns[version] = Returns(count, mean, float(np.square(totals - mean).sum()))

    def _judge(self) -> None:
        traffic = self.traffic
        canary = self.returns[traffic.canary]
        stable = self.returns.get(traffic.stable, Returns())
        why = verdict(traffic.guard, canary, stable)
        if not why:
            return
        after = traffic.rolled_back()
        if traffic.guard.automatic and after is not None:
            self.traffic = after
        self.spawn(self._sent_back(traffic, canary, stable, why))

    async def _sent_back(self, traffic: Traffic, canary: Returns, stable: Returns, why: str) -> None:
        kind = "ROLLED_BACK" if traffic.guard.automatic else "GUARD_FAILED"
        details = {
            "version": str(traffic.canary),
            "stable_version": str(traffic.stable),
            "share": f"{traffic.share:g}",
            "episodes": str(canary.count),
            "mean_return": f"{canary.mean:.6g}",
            "stable_episodes": str(stable.count),
            "stable_mean_return": f"{stable.mean:.6g}",
        }
        done = "was rolled back" if traffic.guard.automatic else "should be rolled back"
        await self.report(kind, f"version {traffic.canary} {done}: {why}", details)
        await self.save()

    def _progressed(self, progress: Progress) -> None:
        """Let new weights act, if they are numbers; tell of what went wrong."""
        if progress.weights is not None:
            self._swap(progress.weights, progress.version or self.newest.version)
        elif progress.version:
            newest = self.newest
            self.newest = Brain(newest.policy, progress.version, newest.weights, newest.specification)
        if progress.fault:
            kind = "DIVERGED" if progress.state is TrainingState.DIVERGED else "LEARNER_LOST"
            details = {"version": str(self.newest.version), "steps": str(progress.steps)}
            self.spawn(self.report(kind, progress.fault, details))
        if progress.version or progress.state is not TrainingState.RUNNING:
            self.spawn(self.save())

    def _swap(self, weights: Mapping[str, Array], version: int) -> None:
        if not all(np.isfinite(each).all() for each in weights.values() if each.dtype.kind == "f"):
            _LOGGER.error("weights that are no numbers do not act", extra={"policy": self.name})
            return
        policy = load(self.specification.plan, weights)
        self.newest = Brain(self.name, version, policy, self.specification)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.error("work in the background failed", exc_info=task.exception())


def specification_of(record: PolicyRecord) -> Specification:
    """Return what a policy was created as."""
    return Specification.of(record.spec)
