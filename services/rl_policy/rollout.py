"""A rollout: k environments played over one stream, a message a step, in arrays from end to end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.kit.errors import FailedPrecondition, Reason, invalid
from services.rl_policy import spaces
from services.rl_policy.accounts import Account
from services.rl_policy.acting import Brain, Rows
from services.rl_policy.algorithms.algorithm import Actions, Bools, Doubles, Floats, Ints, Mode, Transitions
from services.rl_policy.diary import Diary
from services.rl_policy.episodes import Stage
from services.rl_policy.play import KEY_BITS, Play
from services.rl_policy.served import Served
from services.rl_policy.store.records import Episode, Phase

MAX_ENVIRONMENTS = 4_096
MAX_UNSAVED = 2_048
"""Steps that wait for the disk; then the next one waits for them."""


@dataclass(frozen=True)
class Opening:
    """How a rollout is to begin."""

    environments: int
    stage: Stage = Stage.TRAINING
    pinned: int | None = None
    seed: int | None = None
    lock_step: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.environments <= MAX_ENVIRONMENTS:
            limit = f"must be from 1 to {MAX_ENVIRONMENTS:,}, not {self.environments}"
            raise invalid("start.environments", limit)
        if self.lock_step and (self.stage is not Stage.TRAINING or self.pinned is not None):
            raise invalid("start.lock_step", "is for training by the newest version")


@dataclass(frozen=True)
class Frame:
    """What became of the last actions, and what is seen now: k rows."""

    observations: Floats
    masks: Bools
    rewards: Doubles | None = None
    """(k,); None in the first frame, and where rewards follow on their own."""
    terminated: Bools | None = None
    truncated: Bools | None = None
    finals: Floats | None = None
    """(ended, size): what was last seen in the episodes that ended."""
    mode: Mode | None = None


@dataclass(frozen=True)
class Move:
    """What to do in each environment."""

    actions: Actions
    decisions: Ints
    versions: Ints
    durable: int
    """Steps of this rollout that are on disk."""


@dataclass(frozen=True)
class _Open:
    """What was decided last, and waits for its outcome."""

    observations: Floats
    masks: Bools
    move: Move


class Rollout:
    """One caller's. Environment i's episodes follow each other; all of them are counted as they begin."""

    def __init__(self, served: Served, play: Play, diary: Diary, opening: Opening) -> None:
        self._served = served
        self._play = play
        self._diary = diary
        self._opening = opening
        k = opening.environments
        self._accounts: list[Account] = []
        self._brains: list[Brain | None] = []
        self._ordinals = np.arange(k, dtype=np.int64)
        self._begun = k
        self._steps = np.zeros(k, np.int64)
        self._in_time = np.zeros(k)
        self._open: _Open | None = None
        self._unsaved: deque[asyncio.Future[int]] = deque()
        self._durable = 0
        self._seed = 0

    @property
    def begun(self) -> bool:
        """Whether actions were given out that have an outcome."""
        return self._open is not None

    async def start(self) -> int:
        """Begin the first episodes; return the version that will act first."""
        if self._opening.lock_step:
            self._enter_lock_step()
        first = self._diary.number(self._opening.environments)
        seed = served_seed(self._served, first) if self._opening.seed is None else self._opening.seed
        self._seed = seed & KEY_BITS
        for index in range(self._opening.environments):
            account, brain = await self._begin(first + index, index)
            self._accounts.append(account)
            self._brains.append(brain)
        return self._accounts[0].version

    async def step(self, frame: Frame) -> Move:
        """Take in what became of the last actions, and choose the next ones."""
        if self._opening.stage is Stage.TRAINING and not self._opening.lock_step:
            self._served.training.check_free()
        if self._open is not None:
            await self._close(self._open, frame)
        actions, versions = self._act(frame)
        first = self._diary.number(len(versions))
        decisions = np.arange(first, first + len(versions), dtype=np.int64)
        move = Move(actions, decisions, versions, self._count_durable())
        self._open = _Open(frame.observations, frame.masks, move)
        return move

    async def finish(self) -> None:
        """Cut what runs; return when everything is on disk."""
        ends = [self._end(index, Phase.TRUNCATED) for index in range(len(self._accounts))]
        self._accounts = []
        self._diary.flush()
        await asyncio.gather(*self._unsaved, *ends)

    def leave(self) -> None:
        """Let go of the learner, and of episodes that nobody will go on with."""
        if self._opening.lock_step:
            self._served.training.in_lock_step = False
        for index in range(len(self._accounts)):
            self._end(index, Phase.ABANDONED).add_done_callback(_looked_at)
        self._accounts = []

    def _enter_lock_step(self) -> None:
        training = self._served.training
        if training.in_lock_step:
            named = {"policy": self._served.name, "state": str(training.status.state)}
            message = "another rollout is in lock-step with this training"
            raise FailedPrecondition(Reason.TRAINING_STATE, message, metadata=named)
        training.check_running()
        training.in_lock_step = True

    async def _begin(self, number: int, index: int) -> tuple[Account, Brain | None]:
        opening, served = self._opening, self._served
        key = (self._seed ^ int(self._ordinals[index])) & KEY_BITS
        version, variant, brain = await self._play.variant(served, opening.stage, opening.pinned, number)
        account = Account(number, served.name, opening.stage, variant, version)
        started = self._diary.now()
        episode = Episode(
            number, served.name, version, opening.stage.value, variant, key, dict(opening.tags), started
        )
        self._diary.begin(served, episode, soon=False).add_done_callback(_looked_at)
        return account, brain

    async def _close(self, last: _Open, frame: Frame) -> None:
        batch, ended = self._transitions(last, frame)
        settled = np.full(len(ended), frame.rewards is not None)
        stage = self._opening.stage
        saved = self._diary.keep(self._served, stage, batch, settled, self._accounts, soon=False)
        saved.add_done_callback(_looked_at)
        self._unsaved.append(saved)
        self._steps += 1
        self._in_time += batch.reward
        if self._opening.lock_step:
            await self._served.training.learn(batch)
        for index in np.flatnonzero(ended).tolist():
            await self._go_on(index, terminated=bool(batch.terminated[index]))
        if len(self._unsaved) > MAX_UNSAVED:
            await asyncio.shield(self._unsaved[0])

    def _transitions(self, last: _Open, frame: Frame) -> tuple[Transitions, Bools]:
        """Return the transitions that this frame closes, and which episodes end with them."""
        k = len(last.observations)
        none = np.zeros(k, np.bool_)
        terminated = none if frame.terminated is None else frame.terminated
        truncated = none if frame.truncated is None else frame.truncated
        told = terminated | truncated
        seen, next_masks = frame.observations, frame.masks
        if told.any():
            seen, next_masks = seen.copy(), next_masks.copy()
            seen[told], next_masks[told] = self._finals(frame, int(told.sum())), True
        too_long = self._steps + 1 >= self._served.specification.max_steps
        truncated = truncated | (too_long & ~terminated)
        batch = Transitions(
            episode=np.asarray([each.episode for each in self._accounts], np.int64),
            step=self._steps.copy(),
            observation=last.observations,
            action=last.move.actions.actions,
            propensity=last.move.actions.propensities,
            reward=np.zeros(k) if frame.rewards is None else frame.rewards,
            next_observation=seen,
            terminated=terminated,
            truncated=truncated,
            mask=last.masks,
            next_mask=next_masks,
            decision_id=last.move.decisions,
            policy_version=last.move.versions,
        )
        return batch, terminated | truncated

    def _finals(self, frame: Frame, count: int) -> Floats:
        if frame.finals is None or len(frame.finals) != count:
            raise invalid("step.final_observations", f"must have the {count} rows of the episodes that ended")
        return frame.finals

    async def _go_on(self, index: int, *, terminated: bool) -> None:
        ended = self._end(index, Phase.TERMINATED if terminated else Phase.TRUNCATED)
        ended.add_done_callback(_looked_at)
        self._ordinals[index] = self._begun
        self._begun += 1
        self._steps[index], self._in_time[index] = 0, 0.0
        number = self._diary.number()
        self._accounts[index], self._brains[index] = await self._begin(number, index)

    def _end(self, index: int, phase: Phase) -> asyncio.Future[None]:
        account = self._accounts[index]
        steps, in_time = int(self._steps[index]), float(self._in_time[index])
        return self._diary.end(account, phase, steps, in_time, soon=False)

    def _act(self, frame: Frame) -> tuple[Actions, Ints]:
        """Choose for all rows; each version that acts is asked once."""
        mode = frame.mode or self._play.mode(self._served, self._opening.stage)
        newest = self._served.newest
        brains = [each or newest for each in self._brains]
        if len({id(each) for each in brains}) == 1:
            versions = np.full(len(brains), brains[0].version, np.int64)
            return brains[0].act(self._rows(frame, slice(None), mode)), versions
        width = spaces.compact_size(self._served.specification.action)
        k = len(brains)
        actions = Actions(np.zeros((k, width), np.float32), np.zeros(k), np.zeros(k))
        for brain in {id(each): each for each in brains}.values():
            rows = np.flatnonzero([each is brain for each in brains])
            chosen = brain.act(self._rows(frame, rows, mode))
            actions.actions[rows] = chosen.actions
            actions.propensities[rows] = chosen.propensities
            actions.values[rows] = chosen.values
        return actions, np.asarray([each.version for each in brains], np.int64)

    def _rows(self, frame: Frame, rows: slice | Ints, mode: Mode) -> Rows:
        return Rows(
            frame.observations[rows],
            frame.masks[rows],
            mode,
            self._seed,
            self._ordinals[rows],
            self._steps[rows],
        )

    def _count_durable(self) -> int:
        while self._unsaved and self._unsaved[0].done():
            self._unsaved.popleft().result()
            self._durable += 1
        return self._durable


def served_seed(served: Served, number: int) -> int:
    """Return a rollout's seed where its caller set none: of the policy's seed and its first episode."""
    return served.specification.plan.seed ^ (number * 0x9E3779B97F4A7C15)


def _looked_at(saved: asyncio.Future[int] | asyncio.Future[None]) -> None:
    if not saved.cancelled():
        saved.exception()
