"""Retraining: when asked or by policy, beside serving, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.kit.errors import TrunklineError
from services.recommender.entities import Preference
from services.recommender.serving import policy as policies
from services.recommender.serving.online_metrics import OnlineMetrics
from services.recommender.serving.operation_queue import OperationQueue
from services.recommender.serving.operations import EvaluateRequest, Gate, Operation, Policy, TrainRequest
from services.recommender.serving.training_process import run_job
from services.recommender.serving.versions import Versions
from services.recommender.store.registry import Version
from services.recommender.store.store import RecommenderStore
from services.recommender.store.stored import Stored
from services.recommender.training.job import Job

_DOCUMENT = "retrain_policy"
_TICK_S = 1.0
_DROP_CHECK_S = 60.0
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """What every training is told."""

    database: str
    preferences: Mapping[str, Preference]


class Retraining:
    """Runs one training or evaluation at a time; others wait in line. Made by `Serving`."""

    def __init__(
        self,
        store: RecommenderStore,
        versions: Versions,
        online: OnlineMetrics,
        settings: TrainingSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = Policy()
        self._store = store
        self._versions = versions
        self._online = online
        self._settings = settings
        self._clock = clock
        self._queue = OperationQueue()
        self._new_events = 0
        self._last = clock()
        self._watching = asyncio.create_task(self._watch(), name="retraining")

    async def open(self) -> None:
        """Take up the policy that was set before."""
        self.policy = policies.decode(await self._store.documents.get(_DOCUMENT))

    async def close(self) -> None:
        """End what runs."""
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._queue.close()

    def train(self, request: TrainRequest, cause: str = "asked") -> Operation:
        """Begin a training, or queue it, and return at once. Raises ResourceExhausted (QUEUE_FULL)."""

        async def run(operation: Operation) -> None:
            await self._train(operation, request)

        return self._queue.add("train", run, cause)

    def evaluate(self, request: EvaluateRequest) -> Operation:
        """Begin an evaluation, or queue it, and return at once. Raises as `train`."""

        async def run(operation: Operation) -> None:
            job = self._job("evaluate", request.algorithms, request.parameters)
            job = replace(job, protocols=(request.protocol,), seeds=request.seeds, k=request.k)
            operation.metrics = (await run_job(job))["metrics"]

        return self._queue.add("evaluate", run)

    def operation(self, operation_id: str) -> Operation:
        """Return how an operation stands. Raises NotFound (TRAINING_NOT_FOUND)."""
        return self._queue.get(operation_id)

    def operations(self) -> Sequence[Operation]:
        """Return the latest operations, newest first."""
        return self._queue.latest()

    async def wait(self, operation_id: str) -> Operation:
        """Return the operation when it is done. Raises as `operation`."""
        return await self._queue.wait(operation_id)

    async def cancel(self, operation_id: str) -> Operation:
        """End an operation, by signal where it runs. Raises as `operation`."""
        return await self._queue.cancel(operation_id)

    async def set_policy(self, policy: Policy) -> None:
        """Train by this policy from now on; it survives restarts. Raises InvalidArgument."""
        policies.check(policy)
        await self._store.documents.put(_DOCUMENT, policies.encode(policy))
        self.policy = policy
        self._consider()

    def record(self, stored: Stored) -> None:
        """Count new events: the log's listener."""
        self._new_events += len(stored.events)
        self._consider()

    async def _train(self, operation: Operation, request: TrainRequest) -> None:
        rows, name = len(self._store.catalogue), _name(self._clock())
        self._new_events, self._last = 0, self._clock()
        job = self._job("train", request.algorithms, request.parameters)
        job = replace(job, folder=str(self._store.registry.path(name)), since=request.since)
        if request.gate is not None:
            job = replace(job, **_measured(request.gate))
        manifest = (await run_job(job))["manifest"]
        known = {**manifest, "catalogue_rows": rows}
        await self._store.registry.add(Version(name, sequence=int(manifest["sequence"]), manifest=known))
        operation.version = name
        if request.promote:
            await self._promote(operation, request.gate)

    async def _promote(self, operation: Operation, gate: Gate | None) -> None:
        try:
            await self._versions.promote(operation.version, gate)
        except TrunklineError as error:
            operation.refused = error.message
        else:
            operation.promoted = True

    def _job(self, task: Any, algorithms: Sequence[str], parameters: Mapping[str, Mapping[str, Any]]) -> Job:
        chosen = {kind: dict(parameters.get(kind, {})) for kind in algorithms}
        return Job(task, self._settings.database, dict(self._settings.preferences), chosen)

    def _consider(self) -> None:
        """Train for enough new events, or when the period is over and there are any."""
        policy = self.policy
        if self._queue.busy:
            return
        if policy.every_events and self._new_events >= policy.every_events:
            self._begin("events")
        elif policy.period_s and self._new_events and self._clock() - self._last >= policy.period_s:
            self._begin("period")

    def _begin(self, cause: str) -> None:
        self._new_events, self._last = 0, self._clock()
        try:
            self.train(TrainRequest(promote=self.policy.promote, gate=self.policy.gate), cause)
        except TrunklineError as error:
            _LOGGER.warning("a training by policy cannot begin", extra={"error": error.message})

    async def _watch(self) -> None:
        """Look at the clock, and now and then at the click-through rate, until cancelled."""
        checked = self._clock()
        while True:
            await asyncio.sleep(_TICK_S)
            self._consider()
            if self.policy.ctr_drop and self._clock() - checked >= _DROP_CHECK_S:
                checked = self._clock()
                await self._consider_drop()

    async def _consider_drop(self) -> None:
        promoted, now = self._versions.promoted, self._clock()
        try:
            dropped = await policies.has_dropped(self._online, promoted, now, self.policy.ctr_drop)
        except TrunklineError as error:
            _LOGGER.warning("the click-through rate cannot be read", extra={"error": error.message})
            return
        if promoted and dropped and not self._queue.busy:
            self._begin("metric_drop")


def _name(now: float) -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def _measured(gate: Gate) -> dict[str, Any]:
    """Return what a job must measure for a gate: on the newest events of each user, or on values."""
    kind, _, k = gate.metric.partition("@")
    if kind in ("rmse", "mae"):
        return {"protocols": ("ratings-5-fold",)}
    return {"protocols": ("leave-last-out",), "k": int(k) if k.isdigit() and 0 < int(k) <= 1_000 else 10}
