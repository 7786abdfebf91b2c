"""The learner's loop: hear, read, learn, tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from services.rl_policy.algorithms.algorithm import Array, Diverged, Transitions
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.learner.course import Course
from services.rl_policy.learner.frames import Frame, Pipe
from services.rl_policy.store.store import LearnersStore

TELL_S = 0.1
"""How often acting gets new weights while there is more to learn from."""
LOOK_S = 0.25
"""After how long a log whose next reward is awaited is looked at again."""
_LOG = logging.getLogger(__name__)


class Worker:
    """One assignment, from its first frame to the end of the pipe."""

    def __init__(self, pipe: Pipe, course: Course, assignment: Mapping[str, Any]) -> None:
        self._pipe = pipe
        self._course = course
        self._budget = int(assignment["budget"]) or None
        self._interval_s = float(assignment["checkpoint_interval_s"]) or None
        self._paused = False
        self._done = False
        self._behind = True
        self._waiting = False
        self._changed = False
        self._told_at = self._kept_at = time.monotonic()
        self._answers: Mapping[str, Callable[[Frame], None]] = {
            "wake": self._wake,
            "learn": self._learn_now,
            "pause": self._pause,
            "resume": self._resume,
            "checkpoint": self._checkpoint,
            "stop": self._stop,
        }
        self._stopped = False

    def run(self) -> None:
        """Work until told to stop, or the other end has gone."""
        self._tell("ready")
        while not self._stopped:
            self._hear()
            self._go_on()

    def _hear(self) -> None:
        """Deal with what was said; wait where there is nothing to do."""
        busy = self._behind and not (self._paused or self._done)
        patience: float | None = 0.0 if busy else None
        if busy and self._waiting:
            patience = LOOK_S
        while not self._stopped and (frame := self._pipe.receive(patience)) is not None:
            self._answers[frame.kind](frame)
            patience = 0.0

    def _go_on(self) -> None:
        """Read and learn a piece of the log; keep a version where it is time."""
        if self._stopped or self._paused or self._done or not self._behind:
            return
        try:
            self._read()
            if self._interval_s and time.monotonic() - self._kept_at >= self._interval_s:
                self._keep()
        except Diverged as error:
            self._diverged(error)

    def _read(self) -> None:
        count, self._waiting = self._course.read(self._left())
        self._behind = bool(count) or self._waiting
        self._learn()
        if self._changed or not count:
            self._tell("progress", weights=self._changed)
        self._end_if_done()

    def _learn(self, *, in_step: bool = False) -> None:
        """Make the updates that are due; between them, tell of new weights in time."""
        for report in self._course.learn():
            self._changed |= report.publishes
            if self._changed and not in_step and time.monotonic() - self._told_at >= TELL_S:
                self._tell("progress", weights=True)

    def _learn_now(self, frame: Frame) -> None:
        """Lock-step: catch up with the log, then learn from the batch, then answer."""
        try:
            while self._behind and not self._done:
                self._read()
                if self._waiting:
                    break
            if not self._done:
                self._course.take(Transitions(**frame.arrays))
                self._learn(in_step=True)
                self._tell("progress", call=frame.call, weights=self._changed)
                self._end_if_done()
                return
        except Diverged as error:
            self._diverged(error)
        self._tell("progress", call=frame.call)

    def _wake(self, frame: Frame) -> None:  # noqa: ARG002 - as every answer
        self._behind = True

    def _pause(self, frame: Frame) -> None:
        self._paused = True
        self._tell("progress", call=frame.call)

    def _resume(self, frame: Frame) -> None:
        self._paused, self._behind = False, True
        self._tell("progress", call=frame.call)

    def _checkpoint(self, frame: Frame) -> None:
        try:
            self._keep(call=frame.call)
        except Diverged as error:
            self._diverged(error)
            self._tell("progress", call=frame.call)

    def _stop(self, frame: Frame) -> None:
        self._stopped = True
        if not self._done:
            self._checkpoint(frame)
        else:
            self._tell("progress", call=frame.call)

    def _left(self) -> int:
        return (self._budget - self._course.steps) if self._budget else 1 << 62

    def _end_if_done(self) -> None:
        if self._budget and self._course.steps >= self._budget and not self._done:
            self._keep(state="FINISHED")
            self._done = True

    def _keep(self, call: int = 0, state: str = "") -> None:
        version = self._course.keep()
        self._kept_at = time.monotonic()
        self._tell("progress", call=call, weights=self._changed, version=version, state=state)

    def _diverged(self, error: Diverged) -> None:
        _LOG.error("learning has diverged: %s", error)
        self._done = True
        self._tell("progress", state="DIVERGED", fault=str(error))

    def _tell(self, kind: str, *, call: int = 0, weights: bool = False, **values: Any) -> None:
        arrays: Mapping[str, Array] = self._course.weights() if weights else {}
        if weights:
            self._changed = False
            self._told_at = time.monotonic()
        report = self._course.report
        counts = {"steps": self._course.steps, "updates": report.update, "metrics": dict(report.metrics)}
        self._pipe.send(Frame(kind, call, {**counts, **values}, arrays))


def serve(pipe: Pipe) -> None:
    """Take the assignment, which is the first frame, and work on it until the end."""
    first = pipe.receive(None)
    if first is None:
        return
    assignment = first.values
    plan = Plan.of(assignment["plan"])
    low, high = assignment["reward_limits"]
    with LearnersStore(assignment["url"]) as store:
        course = Course(store, assignment["policy"], plan, (low, high))
        course.begin(assignment["from_version"], again=assignment["again"])
        Worker(pipe, course, assignment).run()
