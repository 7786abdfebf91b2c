"""Episodes, one call a step: started, acted in, observed, ended; and choices that are made once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.kit.errors import Aborted, Reason
from services.rl_policy.accounts import Account
from services.rl_policy.acting import Batcher, Brain, Choice, Question
from services.rl_policy.algorithms.algorithm import Bools, Floats, Mode
from services.rl_policy.diary import Diary
from services.rl_policy.episodes import Decision, Outcome, Run, Sight, Stage, Step, transitions
from services.rl_policy.registry import Registry
from services.rl_policy.runs import Runs, record_of
from services.rl_policy.served import Served
from services.rl_policy.store.records import Phase

KEY_BITS = (1 << 63) - 1


@dataclass(frozen=True)
class Beginning:
    """How an episode is to begin."""

    policy: str
    stage: Stage = Stage.TRAINING
    pinned: int | None = None
    seed: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


class Play:
    """The episodes of one process that are played by unary calls. For one event loop."""

    def __init__(self, registry: Registry, runs: Runs, diary: Diary, batcher: Batcher) -> None:
        self._registry = registry
        self._runs = runs
        self._diary = diary
        self._batcher = batcher

    async def start(self, how: Beginning) -> tuple[Run, Brain]:
        """Begin an episode; return it and the version that will act first, when both are on disk."""
        served = await self._registry.get(how.policy)
        known = self._runs.by_request(how.policy, how.request_id)
        if known is not None:
            return known, known.pinned or served.newest
        _check_free(served, how.stage)
        await self._runs.make_room()
        run = await self._begun(served, how)
        self._runs.add(run, how.request_id)
        await self._diary.begin(served, record_of(run))
        return run, run.pinned or served.newest

    async def act(
        self, number: int, step: int, observation: Floats | None, mask: Bools, mode: Mode | None
    ) -> Decision:
        """Choose an action for the next step; the same step again returns the same decision."""
        run, served = await self._free(number)
        if (before := run.repeated(step, observation)) is not None:
            return before
        sight = run.sees(observation, mask)
        if run.busy:
            named = {"episode_id": str(number), "expected_step": str(step)}
            raise Aborted(Reason.STEP_OUT_OF_ORDER, "another call decides this step", metadata=named)
        brain = run.pinned or served.newest
        run.busy = True
        try:
            choice = await self._ask(brain, sight, mode or self.mode(served, run.stage), run.key, step)
        finally:
            run.busy = False
        run.check_running()
        if run.stage is Stage.LIVE:
            self._ask_shadow(served, sight, run.key, step, choice)
        return self._decided(run, served, sight, choice)

    async def log(self, number: int, step: int, sight: Sight, action: Floats, propensity: float) -> Decision:
        """Take in an action that the caller chose; `propensity` NaN is unknown."""
        run, served = await self._free(number)
        if (before := run.repeated(step, sight.observation)) is not None:
            return before
        choice = Choice(action, propensity, float("nan"), 0)
        decision = self._decided(run, served, run.sees(sight.observation, sight.mask), choice)
        if run.saved is not None:
            await asyncio.shield(run.saved)
        return decision

    async def observe(self, number: int, step: int, outcome: Outcome) -> Run:
        """Take in what came of the last action; return when the transition is on disk."""
        run, served = await self._free(number)
        closed = run.observe(step, outcome)
        failed = run.saved is not None and run.saved.done() and run.saved.exception() is not None
        if closed is not None or failed:
            assert run.last is not None  # noqa: S101 - there was a transition
            self._keep(run, served, run.last)
        if run.saved is not None:
            await asyncio.shield(run.saved)
        if closed is not None and run.phase is not Phase.RUNNING:
            await self._runs.end(run)
        return run

    async def end(self, number: int, seen: Floats | None, reward: float | None) -> Run:
        """Cut an episode; one that has ended is returned as it is."""
        run, served = await self._runs.at(number)
        if run.phase is Phase.RUNNING:
            closed = run.end(self._diary.now(), seen, reward)
            if closed is not None:
                self._keep(run, served, closed)
            if run.saved is not None:
                await asyncio.shield(run.saved)
            await self._runs.end(run)
        return run

    async def decide(self, how: Beginning, observation: Floats, mask: Bools) -> Decision:
        """Make one choice, in an episode of its own that ends with it; return when it is on disk."""
        served = await self._registry.get(how.policy)
        known = self._runs.by_request(how.policy, how.request_id)
        if known is not None and known.last is not None:
            return known.last.decision
        _check_free(served, how.stage)
        run = await self._begun(served, how)
        sight = Sight(observation, mask)
        brain = run.pinned or served.newest
        choice = await self._ask(brain, sight, self.mode(served, run.stage), run.key, 0)
        decision = self._decided(run, served, sight, choice)
        closed = run.observe(0, Outcome(None, Sight(observation, np.ones_like(mask)), terminated=True))
        assert closed is not None  # noqa: S101 - its only step
        begun = self._diary.begin(served, record_of(run))
        saved = self._keep(run, served, closed)
        self._runs.add(run, how.request_id)
        await asyncio.gather(begun, asyncio.shield(saved), self._runs.end(run))
        return decision

    async def _free(self, number: int) -> tuple[Run, Served]:
        """Return an episode and its policy; raises where a rollout has the log for itself."""
        run, served = await self._runs.at(number)
        _check_free(served, run.stage)
        return run, served

    def mode(self, served: Served, stage: Stage) -> Mode:
        """Return how a stage's actions are chosen where the caller says nothing."""
        if stage is Stage.LIVE:
            return Mode.GREEDY if served.specification.safety.greedy_when_live else Mode.EXPLORE
        return Mode.EXPLORE if stage is Stage.TRAINING else Mode.GREEDY

    async def _begun(self, served: Served, how: Beginning) -> Run:
        number = self._diary.number()
        key = (number if how.seed is None else how.seed) & KEY_BITS
        version, variant, pinned = await self.variant(served, how.stage, how.pinned, key)
        account = Account(number, served.name, how.stage, variant, version)
        now = self._diary.now()
        return Run(
            account,
            how.stage,
            key,
            served.specification.max_steps,
            pinned,
            how.tags,
            started_at=now,
            touched_at=now,
        )

    async def variant(
        self, served: Served, stage: Stage, pinned: int | None, key: int
    ) -> tuple[int, str, Brain | None]:
        """Return version, variant and, where it is to act for the whole episode, the version itself."""
        if pinned is not None:
            return pinned, "pinned", await served.brain(pinned)
        if stage is Stage.LIVE:
            version, variant = served.traffic.choose(key)
            return version, variant, await served.brain(version)
        brain = served.newest
        return brain.version, stage.value, brain if stage is Stage.EVALUATION else None

    async def _ask(self, brain: Brain, sight: Sight, mode: Mode, key: int, step: int) -> Choice:
        return await self._batcher.ask(brain, Question(sight.observation, sight.mask, mode, key, step))

    def _ask_shadow(self, served: Served, sight: Sight, key: int, step: int, choice: Choice) -> None:
        """Ask the shadow what it would have done; nobody waits for it."""
        if not served.traffic.shadow:
            return

        async def compare() -> None:
            brain = await served.brain(served.traffic.shadow)
            other = await self._ask(brain, sight, Mode.GREEDY, key, step)
            served.shadow.compared += 1
            served.shadow.agreed += bool(np.array_equal(other.action, choice.action))

        served.spawn(compare())

    def _decided(self, run: Run, served: Served, sight: Sight, choice: Choice) -> Decision:
        decision = Decision(self._diary.number(), sight, choice)
        closed = run.decide(decision)
        if closed is not None:
            self._keep(run, served, closed, soon=False)
        return decision

    def _keep(self, run: Run, served: Served, step: Step, *, soon: bool = True) -> asyncio.Future[int]:
        run.in_time += step.outcome.reward or 0.0
        if soon:
            batch, settled = transitions([step])
            run.saved = self._diary.keep(served, run.stage, batch, settled, [run.account])
        else:
            run.saved = self._diary.keep_step(served, run, step)
        run.saved.add_done_callback(_looked_at)
        return run.saved


def _check_free(served: Served, stage: Stage) -> None:
    if stage is Stage.TRAINING:
        served.training.check_free()


def _looked_at(saved: asyncio.Future[int]) -> None:
    """Look at a failure, so that it is not reported as one that nobody saw; the next Observe meets it."""
    if not saved.cancelled():
        saved.exception()
