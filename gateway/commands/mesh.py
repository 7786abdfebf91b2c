"""The processes of one mesh on this machine: started in the table's order, watched, stopped backwards."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from gateway.commands.plan import Part
from gateway.commands.reporter import Reporter
from gateway.commands.run_logs import RunLogs
from services.kit.child import SupervisedChild
from services.kit.command import CommandError

HOPELESS_ENDS = 3
"""A process that ended this often before the mesh was ready will not get there."""
GRACE_SECONDS = 25.0  # above what the gateway takes, which drains Envoy and then its fronts


class Mesh:
    """One run's processes. What ends is started again, as `services.kit.child` has it."""

    def __init__(self, parts: Sequence[Part], logs: RunLogs, reporter: Reporter) -> None:
        self._logs = logs
        self._reporter = reporter
        self._children = [(part.entry, self._child(part)) for part in parts]
        self._ends: Counter[str] = Counter()
        self._hopeless: asyncio.Queue[CommandError] = asyncio.Queue()
        self._stopping = False

    async def start(self) -> None:
        """Start every process; call it from the main thread."""
        for _, child in self._children:
            await child.start()

    async def broken(self) -> None:
        """Wait until a process keeps ending; raise CommandError then, with the last lines of its log."""
        raise await self._hopeless.get()

    async def stop(self) -> None:
        """Stop every process: who dials before who is dialled, those of one kind at once."""
        self._stopping = True
        for _, kind in groupby(reversed(self._children), key=itemgetter(0)):
            await asyncio.gather(*(child.stop() for _, child in kind))

    def _child(self, part: Part) -> SupervisedChild:
        # -P: the working directory's own modules are not the mesh's. The shell is gone before Python begins.
        python = [sys.executable, "-P", "-m", part.module]
        command = ["/bin/sh", "-c", 'exec "$@" >>"$0" 2>&1', str(self._logs.path(part.name)), *python]
        return SupervisedChild(
            part.name,
            command,
            env=part.variables,
            grace=GRACE_SECONDS,
            on_exit=lambda status: self._ended(part.name, status),
        )

    def _ended(self, name: str, status: int) -> None:
        if self._stopping:
            return
        self._ends[name] += 1
        what, log = f"The {name} ended ({_how(status)})", self._logs.path(name)
        self._reporter.say("ended", f"{what} and is started again.", process=name, status=status)
        if self._ends[name] == HOPELESS_ENDS:
            tail = f"The last lines of {log}:\n{self._logs.tail(name)}"
            self._hopeless.put_nowait(CommandError(f"The {name} keeps ending. {tail}"))


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
