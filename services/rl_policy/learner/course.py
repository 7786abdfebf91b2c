"""One policy's learning between log and versions: read, learn, keep. Blocking; for one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from services.kit.errors import NotFound
from services.rl_policy.algorithms.algorithm import Diverged, Report, Transitions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.store.records import Cursor, Version
from services.rl_policy.store.store import LearnersStore

READ = 1_024
"""Transitions that are read at once."""
REMEMBERED = 16_384
"""Transitions that are given back to a learner at once."""
CHECKPOINTS = 3
"""How many versions of a policy keep what learning can go on from."""


class Course:
    """A learner with its place in the log.

    `steps` counts the transitions that were observed, those of the checkpoint it began with included.
    """

    def __init__(
        self, store: LearnersStore, policy: str, plan: Plan, limits: tuple[float | None, float | None]
    ) -> None:
        self._store = store
        self._policy = policy
        self._plan = plan
        self._low = -np.inf if limits[0] is None else limits[0]
        self._high = np.inf if limits[1] is None else limits[1]
        self._learner = plan.learner()
        self._cursor = Cursor()
        self._parent = 0
        self._last_decision = -1
        self.steps = 0
        self.report = Report(0, 0)

    def begin(self, version: int, *, again: bool) -> None:
        """Go on from a version's checkpoint; without one begin anew, at the start of the log.

        `again`: the process was lost, so go on from what it kept last. Raises NotFound for no such version.
        """
        if again and (newest := self._store.versions.newest(self._policy, resumable=True)):
            version = max(version, newest.number)
        if not version:
            return
        found = self._store.versions.get(self._policy, version)
        self._parent = version
        try:
            state = self._store.versions.checkpoint(self._policy, version)
        except NotFound:  # imported, or older than what is kept
            return
        self._learner.restore(state)
        stop = self._store.log.bounds(self._policy)[1]
        position = min(found.cursor.position, stop)
        self._cursor = replace(found.cursor, position=position)
        self.steps = int(found.config.get("steps", position))
        self.report = Report(self.steps, int(found.config.get("updates", 0)), found.metrics)
        self._remember(position)

    def read(self, most: int) -> tuple[int, bool]:
        """Observe what comes next in the log, at most `most`; return how many, and whether more is due."""
        released = self._store.log.read(self._policy, self._cursor, min(READ, most))
        self._cursor = released.cursor
        if len(released.transitions):
            self._observe(released.transitions)
        return len(released.transitions), released.waiting

    def take(self, batch: Transitions) -> None:
        """Observe a batch that is being written to the log: the cursor moves over it."""
        fresh = batch[batch.decision_id > self._last_decision]
        if len(fresh):
            self._cursor = replace(self._cursor, position=self._cursor.position + len(fresh))
            self._observe(fresh)

    def learn(self) -> Iterator[Report]:
        """Make the updates that are due, one by one; raises Diverged."""
        while report := self._learner.learn():
            self.report = report
            yield report

    def weights(self) -> dict[str, np.ndarray]:
        """Return what acts now; raises Diverged where a weight is not finite."""
        weights = {name: np.asarray(each) for name, each in self._learner.policy().weights().items()}
        for name, each in weights.items():
            if each.dtype.kind == "f" and not np.isfinite(each).all():
                raise Diverged(f"the weights {name} are not finite")
        return weights

    def keep(self) -> int:
        """Publish a version with its checkpoint; return its number."""
        version = Version(
            policy=self._policy,
            number=0,
            algorithm=self._plan.algorithm,
            parent=self._parent,
            cursor=self._cursor,
            metrics=dict(self.report.metrics),
            config={"steps": self.steps, "updates": self.report.update, "time": time.time()},
        )
        state = {name: np.ascontiguousarray(each) for name, each in self._learner.state().items()}
        weights = {name: np.ascontiguousarray(each) for name, each in self.weights().items()}
        self._parent = self._store.versions.publish(version, weights, state).number
        self._store.versions.trim(self._policy, CHECKPOINTS)
        return self._parent

    def _observe(self, batch: Transitions) -> None:
        self._last_decision = max(self._last_decision, int(batch.decision_id.max()))
        self.steps += len(batch)
        self._learner.observe(self._limited(batch))

    def _remember(self, stop: int) -> None:
        first = max(0, stop - self._learner.memory)
        for begin in range(first, stop, REMEMBERED):
            end = min(stop, begin + REMEMBERED)
            batch = self._store.log.range(self._policy, begin, end, self._cursor.rewards)
            if len(batch):
                self._learner.remember(self._limited(batch))

    def _limited(self, batch: Transitions) -> Transitions:
        return replace(batch, reward=np.clip(batch.reward, self._low, self._high))
