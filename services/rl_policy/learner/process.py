"""The learner of one policy: a process that is started again from its last checkpoint whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

from services.kit.child import Launch, SupervisedChild
from services.kit.errors import Unavailable
from services.rl_policy.algorithms.algorithm import Transitions
from services.rl_policy.learner.frames import Frame
from services.rl_policy.learner.session import Session, lost
from services.rl_policy.trainer import Assignment, Listener, Progress, TrainingState

MODULE = "services.rl_policy.learner"
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread: sums of several come out differently, and the second core is for acting."""


class LearnerProcess:
    """Owns the process and the session with it: a Trainer. For one event loop, started in the main thread."""

    def __init__(self, assignment: Assignment, url: str, listener: Listener) -> None:
        self._assignment = assignment
        self._url = url
        self._listener = listener
        name = f"learner {assignment.policy}"
        self._child = SupervisedChild(name, self._launch, grace=10.0, on_start=self._spawned)
        self._theirs: socket.socket | None = None
        self._session: Session | None = None
        self._serving: asyncio.Task[None] | None = None
        self._starts = 0
        self._paused = False
        self._retired = False
        self._over = False
        self._steps = 0
        self._updates = 0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._child.pid

    async def start(self) -> None:
        """Start the process; return when it learns. Raises Unavailable (LEARNER_UNAVAILABLE)."""
        try:
            await self._child.start()
            assert self._session is not None  # noqa: S101 - `_launch` made it
            await asyncio.shield(self._session.ready)
        except (OSError, Unavailable):
            await self._end()
            raise

    def wake(self) -> None:
        """Say that the log has grown."""
        with contextlib.suppress(Unavailable):  # the next one looks at the log by itself
            self._live().send(Frame("wake"))

    async def learn(self, batch: Transitions) -> Progress:
        """Lock-step: learn from what comes next in the log, now. Raises Unavailable."""
        return self._progress(await self._live().call("learn", dict(batch.columns())))

    async def pause(self) -> None:
        """Hold still."""
        self._paused = True
        await self._live().call("pause", {})

    async def resume(self) -> None:
        """Go on."""
        self._paused = False
        await self._live().call("resume", {})

    async def checkpoint(self) -> int:
        """Keep a version; return its number. Raises Unavailable."""
        progress = self._progress(await self._live().call("checkpoint", {}))
        self._listener(progress)
        return progress.version

    async def stop(self) -> None:
        """Keep a version and end the process. Never raises for a process that is gone."""
        self._retired = True
        with contextlib.suppress(Unavailable):
            self._listener(self._progress(await self._live().call("stop", {})))
        await self._end()

    async def _end(self) -> None:
        self._retired = True
        await self._child.stop()
        if self._serving is not None:
            await asyncio.wait([self._serving])

    def _live(self) -> Session:
        if self._session is None:
            raise lost(self._assignment.policy)
        return self._session

    def _launch(self) -> Launch:
        """Make a new pipe, and the command that gets its other end."""
        self._spawned(0)  # where the last start failed, its pipe ends here
        ours, self._theirs = socket.socketpair()
        self._session = Session(self._assignment.policy, ours, self._heard)
        self._serving = asyncio.create_task(self._serve(self._session), name=f"serve {self._child.name}")
        pipe = self._theirs.fileno()
        command = (sys.executable, "-m", MODULE, "--pipe", str(pipe))
        return Launch(command=command, env=_ENVIRONMENT, pass_fds=(pipe,))

    def _spawned(self, _pid: int) -> None:
        """Close our copy of the learner's end: only so does the pipe end when the learner does."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    async def _serve(self, session: Session) -> None:
        again = self._starts > 0
        self._starts += 1
        ready = asyncio.create_task(self._ready(session, again=again))
        await session.run(self._first(again=again))
        await ready
        if not (self._retired or self._over):
            self._tell(TrainingState.RECOVERING, fault="the learner was lost and is started again")

    async def _ready(self, session: Session, *, again: bool) -> None:
        """Say that a learner which had been lost learns again, and hold it still if that was asked."""
        try:
            frame = await asyncio.shield(session.ready)
        except Unavailable:
            return
        self._steps, self._updates = frame.values["steps"], frame.values["updates"]
        if again:
            self._tell(TrainingState.RUNNING)
            if self._paused:
                session.send(Frame("pause"))

    def _first(self, *, again: bool) -> Frame:
        assignment = self._assignment
        values = {
            "url": self._url,
            "policy": assignment.policy,
            "plan": assignment.plan.document(),
            "from_version": assignment.from_version,
            "again": again,
            "budget": assignment.budget,
            "checkpoint_interval_s": assignment.checkpoint_interval_s,
            "reward_limits": list(assignment.reward_limits),
        }
        return Frame("begin", values=values)

    def _heard(self, frame: Frame) -> None:
        if not self._retired:
            self._listener(self._progress(frame))

    def _progress(self, frame: Frame) -> Progress:
        values = frame.values
        self._steps, self._updates = values["steps"], values["updates"]
        state = TrainingState(values.get("state") or TrainingState.RUNNING)
        self._over |= state in {TrainingState.FINISHED, TrainingState.DIVERGED}
        return Progress(
            self._steps,
            self._updates,
            values["metrics"],
            frame.arrays or None,
            values.get("version", 0),
            state,
            values.get("fault", ""),
        )

    def _tell(self, state: TrainingState, fault: str = "") -> None:
        self._listener(Progress(self._steps, self._updates, state=state, fault=fault))
