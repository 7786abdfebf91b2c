"""How many threads a step gets: fewer where neighbours take the cores, because threads wait for the last one.

A hill climb on measured time, as engine threads have no say in who else runs: while the system keeps a step
waiting for a core, one thread fewer is tried for some steps and kept if they are faster; while there are
fewer than all, one more is tried now and then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from threading import get_ident
from time import monotonic
from typing import TypeAlias

STEPS = 12
"""So many steps are compared with as many others."""
PAUSE_S = 2.0
"""Between one try and the next, at least."""
_PAUSE_TRIES = 20  # and so many times as long as the try took: what trying costs stays small
CROWDED = 0.1
"""The share of a step's time for which its thread was ready and had no core."""
_BETTER = 0.93  # a change must win by this much: noise is not followed
_FORGET = 1.002  # a step, of the shortest time seen: machines and contexts change

_Step: TypeAlias = tuple[int, float]  # its size, of which times compare, and its seconds


class Crowding:
    """Decides before each step. `begin` and `end` are called by the thread that steps.

    `waited` returns the seconds for which that thread has ever been ready without a core, or None where the
    system does not say; then the number of threads stays.
    """

    def __init__(
        self,
        threads: int,
        waited: Callable[[], float | None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if threads < 1:
            raise ValueError("a step has one thread at least")
        self._all = threads
        self._settled = threads
        self._tried: int | None = None
        self._clock = clock
        self._waited = waited or RunDelay()
        self._began = self._before = 0.0
        self._shortest: dict[int, float] = {}
        self._times: deque[_Step] = deque(maxlen=STEPS)
        self._shares: deque[float] = deque(maxlen=STEPS)
        self._rival: list[_Step] = []
        self._try_began = self._next_try = 0.0
        self._up = False

    @property
    def threads(self) -> int:
        """Return how many threads the next step gets."""
        return self._settled if self._tried is None else self._tried

    def begin(self) -> int:
        """Return how many threads the step that begins gets."""
        self._before = self._waited() or 0.0
        self._began = self._clock()
        return self.threads

    def end(self, rows: int) -> None:
        """Take in the step that `begin` began, which had so many rows."""
        now = self._clock()
        step = rows.bit_length(), max(now - self._began, 1e-9)
        self._remember(*step)
        self._shares.append(((self._waited() or 0.0) - self._before) / max(now - self._began, 1e-9))
        if self._tried is None:
            self._times.append(step)
            self._consider(now)
            return
        self._rival.append(step)
        if len(self._rival) == STEPS:
            self._decide(now)

    def _remember(self, size: int, seconds: float) -> None:
        """Keep the shortest time that steps of this size took lately."""
        self._shortest[size] = min(seconds, self._shortest.get(size, seconds) * _FORGET)

    def _slowness(self, steps: Iterable[_Step]) -> float:
        """Return how many times as long as the shortest of its size a usual step took."""
        return median(seconds / self._shortest[size] for size, seconds in steps)

    def _consider(self, now: float) -> None:
        """Begin to try another number where that may pay."""
        if len(self._times) < STEPS or now < self._next_try:
            return
        down = self._settled > 1 and sorted(self._shares)[1] > CROWDED
        up = self._settled < self._all
        if not (down or up):
            return
        self._try_began = now
        self._up = up and (not down or not self._up)
        self._tried = self._settled + (1 if self._up else -1)

    def _decide(self, now: float) -> None:
        """Keep the number that was tried, or go back."""
        if self._tried is not None and self._slowness(self._rival) < _BETTER * self._slowness(self._times):
            self._settled = self._tried
        self._tried = None
        self._rival.clear()
        self._times.clear()
        self._shares.clear()
        self._next_try = now + max(PAUSE_S, _PAUSE_TRIES * (now - self._try_began))


class RunDelay:
    """Seconds for which the calling thread has been ready without a core, as Linux counts them."""

    def __init__(self) -> None:
        self._thread = 0
        self._file = -1

    def __call__(self) -> float | None:
        """Return the seconds; None where the system does not count."""
        try:
            if self._thread != get_ident():  # a model is measured by the thread that loads it
                self._open()
            return int(os.pread(self._file, 64, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return None

    def __del__(self) -> None:
        self._close()

    def _open(self) -> None:
        self._thread = get_ident()
        self._close()
        self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
