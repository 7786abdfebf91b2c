"""The learner's process: it learns what a learner here learns, and is not missed when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from services.kit.errors import Unavailable
from services.rl_policy.algorithms.algorithm import Transitions, joined
from services.rl_policy.algorithms.plan import Plan
from services.rl_policy.learner.frames import Frame, FrameError, decode, encode
from services.rl_policy.learner.process import LearnerProcess
from services.rl_policy.store.store import Store
from services.rl_policy.trainer import Assignment, Progress, TrainingState
from tests.eventually import eventually
from tests.unit.rl_policy.corridor import learn_all, plan, played

DEADLINE = 120.0


@dataclass
class Heard:
    """Whatever a learner said."""

    all: list[Progress] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        self.all.append(progress)

    async def until(self, condition: Callable[[Progress], bool]) -> Progress:
        async def said() -> bool:
            return any(map(condition, self.all))

        await eventually(said, within=DEADLINE)
        return next(filter(condition, self.all))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/policies.db"


def _log(made: Plan, steps: int, store: Store) -> Transitions:
    log = joined(played(made, steps)[0].batches)
    first = store.ids.take(len(log))
    return replace(log, decision_id=np.arange(first, first + len(log)))


@asynccontextmanager
async def _learning(
    made: Plan, url: str, heard: Heard, budget: int = 0, version: int = 0
) -> AsyncIterator[LearnerProcess]:
    process = LearnerProcess(Assignment("p", made, version, budget, 0.0), url, heard)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


def _same(weights: object, made: Plan, log: Transitions) -> bool:
    learner = made.learner()
    learn_all(learner, [log])
    expected = learner.policy().weights()
    return all(
        np.asarray(weights[name]).tobytes() == np.asarray(expected[name]).tobytes() for name in expected
    )


@pytest.mark.parametrize("algorithm", ["q_learning", "dqn"])
async def test_it_learns_from_the_log_what_a_learner_here_learns(algorithm: str, url: str):
    made, heard = plan(algorithm), Heard()
    with Store(url) as store:
        log = _log(made, 300, store)
        await store.log.append("p", log[:100])
        async with _learning(made, url, heard) as process:
            await store.log.append("p", log[100:])
            process.wake()
            await heard.until(lambda said: said.steps == len(log))
            version = await process.checkpoint()
        assert _same(store.versions.weights("p", version), made, log)
        assert store.versions.get("p", version).cursor.position == len(log)


async def test_in_lock_step_each_batch_is_learned_from_before_the_answer(url: str):
    made, heard = plan("sarsa"), Heard()
    with Store(url) as store:
        log = _log(made, 60, store)
        async with _learning(made, url, heard) as process:
            for begin in range(0, len(log), 4):
                progress = await process.learn(log[begin : begin + 4])
                assert progress.steps == begin + len(log[begin : begin + 4])
                assert progress.weights is not None
                assert _same(progress.weights, made, log[: begin + 4])


@pytest.mark.parametrize("algorithm", ["double_q", "ppo"])
async def test_killed_it_goes_on_from_its_last_checkpoint_as_if_nothing_had_been(algorithm: str, url: str):
    made, heard = plan(algorithm), Heard()
    with Store(url) as store:
        log = _log(made, 400, store)
        await store.log.append("p", log[:211])
        async with _learning(made, url, heard) as process:
            await heard.until(lambda said: said.steps == 211)
            await process.checkpoint()
            await store.log.append("p", log[211:300])
            process.wake()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            await heard.until(lambda said: said.state is TrainingState.RECOVERING)
            await store.log.append("p", log[300:])
            await heard.until(lambda said: said.steps == len(log))
            version = await process.checkpoint()
        assert _same(store.versions.weights("p", version), made, log)


async def test_its_budget_ends_it_with_a_version(url: str):
    made, heard = plan("q_learning"), Heard()
    with Store(url) as store:
        log = _log(made, 200, store)
        await store.log.append("p", log)
        async with _learning(made, url, heard, budget=150):
            said = await heard.until(lambda said: said.state is TrainingState.FINISHED)
        assert (said.steps, said.version > 0) == (150, True)
        assert _same(store.versions.weights("p", said.version), made, log[:150])


async def test_one_that_diverges_says_so_and_publishes_nothing(url: str):
    made, heard = plan("dqn"), Heard()
    with Store(url) as store:
        log = _log(made, 200, store)
        await store.log.append("p", replace(log, reward=np.full(len(log), 1e308)))
        async with _learning(made, url, heard):
            said = await heard.until(lambda said: said.state is TrainingState.DIVERGED)
        assert said.fault
        assert store.versions.newest("p") is None


async def test_a_learner_that_is_stopped_answers_nothing_more(url: str):
    made = plan("q_learning")
    with Store(url):
        async with _learning(made, url, Heard()) as process:
            await process.pause()
            await process.resume()
        with pytest.raises(Unavailable):
            await process.checkpoint()
        process.wake()


async def test_a_learner_that_cannot_begin_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    wrong = f"sqlite:///{tmp_path}/file/policies.db"
    process = LearnerProcess(Assignment("p", plan("q_learning"), 0), wrong, Heard())
    with pytest.raises(Unavailable):
        async with asyncio.timeout(DEADLINE):
            await process.start()


def test_a_frame_is_the_same_at_the_other_end_and_another_language_is_refused():
    sent = Frame(
        "learn", 7, {"a": [1, None]}, {"x": np.zeros((3, 0), np.bool_), "y": np.arange(6).reshape(2, 3).T}
    )
    heard = decode(encode(sent)[8:])
    assert (heard.kind, heard.call, heard.values) == ("learn", 7, {"a": [1, None]})
    assert np.array_equal(heard.arrays["y"], sent.arrays["y"])
    assert heard.arrays["x"].shape == (3, 0)
    for noise in (b"", b"\x00" * 40, encode(sent)[8:-4], os.urandom(100)):
        with pytest.raises(FrameError):
            decode(noise)
