"""How long a step takes, measured, and so how many prompt tokens may join those that others wait for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from services.inference_worker.engine.batch import BLOCK_TOKENS, Part, RaggedBatch, pack
from services.inference_worker.engine.runner import Runner
from services.inference_worker.wire import Limits

STRETCH = 2.5
"""A step that reads prompts takes at most so many times what it would if all who are here made tokens."""

LONGEST_SECONDS = 0.25
"""What a step takes at most when nobody makes tokens: cancels, deadlines and newcomers wait for its end."""

_SIZES = (1, 64, 8, 16, 4, 32, 128, 256)  # rows; the first two say the most
_SEPARATE = 16  # as many rows belong to a sequence each, as in decoding; more are one prompt
_SECONDS = 0.3
_FOLLOW_NEAR = 0.1  # of a deviation is believed for steps of that size
_FOLLOW_ALL = 0.05  # and for all
_FARTHEST = 4.0  # times, to either side; one hiccup says little


class StepCurve:
    """Seconds a step takes by its rows: straight between what was measured, never falling; it learns."""

    def __init__(self, measured: dict[int, float]) -> None:
        if not measured:
            raise ValueError("a curve has at least one point")
        self._rows = sorted(measured)
        self._measured = [measured[rows] for rows in self._rows]
        self._seconds = list(accumulate(self._measured, max))

    def seconds(self, rows: int) -> float:
        """Return how long a step of `rows` rows takes."""
        left, right, part = self._place(rows)
        low, high = self._seconds[left], self._seconds[right]
        return low + (high - low) * part

    def rows(self, seconds: float, most: int) -> int:
        """Return the most rows, up to `most`, with which a step takes no longer than `seconds`; 0 if none."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.seconds(middle) <= seconds else (low, middle - 1)
        return low

    def learn(self, rows: int, seconds: float) -> None:
        """Follow what a step of `rows` rows took: neighbours, longer contexts, a calibration among noise.

        It says the most about steps of its size, and something about all.
        """
        expected = self.seconds(rows)
        if expected <= 0 or seconds <= 0:
            return
        ratio = min(max(seconds / expected, 1 / _FARTHEST), _FARTHEST)
        left, right, part = self._place(rows)
        nearness = {right: min(part, 1.0), left: 1 - min(part, 1.0)}
        self._measured = [
            each * ratio ** (_FOLLOW_ALL + _FOLLOW_NEAR * nearness.get(place, 0.0))
            for place, each in enumerate(self._measured)
        ]
        self._seconds = list(accumulate(self._measured, max))

    def _place(self, rows: int) -> tuple[int, int, float]:
        """Return the points left and right of `rows`, and how far between them it is: above 1 behind."""
        if len(self._rows) == 1 or rows <= self._rows[0]:
            return 0, 0, 0.0
        right = min(bisect_right(self._rows, rows), len(self._rows) - 1)
        left = right - 1
        return left, right, (rows - self._rows[left]) / (self._rows[right] - self._rows[left])


class Budget:
    """What a step may hold. Its curve follows what steps take."""

    def __init__(self, curve: StepCurve, limits: Limits) -> None:
        self._curve = curve
        self._floor = limits.step_ms / 1000
        self._most = limits.prefill_tokens

    def seconds(self, rows: int) -> float:
        """Return how long a step of so many rows takes these days."""
        return self._curve.seconds(rows)

    def prompt_rows(self, decoding: int, company: int) -> int:
        """Return how many prompt tokens a step may read beside `decoding` rows, for a `company` of so many.

        As many as fit into the time that those who decode can spare, up to `prefill_tokens`; yet a block at
        least: no prompt waits for ever.
        """
        spared = STRETCH * self.seconds(max(decoding, company)) if decoding else LONGEST_SECONDS
        rows = self._curve.rows(max(self._floor, spared), decoding + self._most) - decoding
        return min(max(rows, BLOCK_TOKENS), self._most)

    def observe(self, rows: int, seconds: float) -> None:
        """Take in how long a step of `rows` rows took."""
        self._curve.learn(rows, seconds)


def calibrate(runner: Runner, clock: Callable[[], float]) -> StepCurve:
    """Measure steps of the runner, whose cache must be empty, for 0.3 s or until two sizes are known."""
    sizes = [rows for rows in _SIZES if rows <= min(runner.context_length, runner.blocks * BLOCK_TOKENS)]
    runner.step(_batch(1, runner))  # the first step pays for what later ones find
    began, measured = clock(), dict[int, float]()
    for rows in sizes:
        if len(measured) >= 2 and clock() - began > _SECONDS:
            break
        measured[rows] = _fastest(runner, _batch(rows, runner), clock)
    return StepCurve(measured)


def _fastest(runner: Runner, batch: RaggedBatch, clock: Callable[[], float]) -> float:
    """Return how long a step of the batch takes, of two the faster one; a long one is taken at its word."""
    times: list[float] = []
    while len(times) < (2 if batch.rows <= _SEPARATE else 1):
        began = clock()
        runner.step(batch)
        times.append(clock() - began)
        if times[0] > _SECONDS / 10:
            break
    return min(times)


def _batch(rows: int, runner: Runner) -> RaggedBatch:
    """Return a batch of so many sequences of a token, or of one prompt. What it writes, nobody reads."""
    tokens = [place % runner.vocabulary_size for place in range(rows)]
    if rows <= _SEPARATE:
        return pack([Part([token], 0, [place % runner.blocks], 1) for place, token in enumerate(tokens)])
    return pack([Part(tokens, 0, range(-(-rows // BLOCK_TOKENS)), 1)])
