"""Questions of many calls become one batch; each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kit.errors import FailedPrecondition, Reason, ResourceExhausted
from services.rl_policy.acting import Batcher, Brain, Question
from services.rl_policy.algorithms.algorithm import Actions, Array, Bools, Doubles, Floats, Mode
from services.rl_policy.algorithms.plan import Plan, options_of
from services.rl_policy.spaces import Box, Discrete
from services.rl_policy.specification import Specification

SPANS = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(SPANS))
TRACER = PROVIDER.get_tracer("test")
PLAN = Plan("dqn", Box((1,)), Discrete(4), options_of("dqn", {}))


class Echo:
    """Answers with what it saw, and remembers how many rows it saw at once."""

    draws = 1

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def act(self, observations: Floats, masks: Bools, mode: Mode, uniforms: Doubles) -> Actions:
        self.sizes.append(len(observations))
        count = len(observations)
        return Actions(observations, np.full(count, 0.5), np.full(count, np.nan))

    def distribution(self, observations: Floats, masks: Bools, mode: Mode) -> Doubles:
        return np.full((len(observations), 4), 0.25)

    def weights(self) -> Mapping[str, Array]:
        return {}


def question(value: float, mode: Mode = Mode.EXPLORE) -> Question:
    return Question(np.asarray([value], np.float32), np.ones(4, np.bool_), mode, 0, 0)


@pytest.fixture
def echo() -> Echo:
    SPANS.clear()
    return Echo()


@pytest.fixture
def brain(echo: Echo) -> Brain:
    return Brain("echo", 3, echo, Specification("", PLAN))


async def test_what_is_asked_at_once_is_asked_together(echo: Echo, brain: Brain):
    batcher = Batcher(100, TRACER)
    answers = await asyncio.gather(*(batcher.ask(brain, question(each)) for each in range(10)))
    assert echo.sizes == [10]
    assert [each.action[0] for each in answers] == list(range(10))
    assert {each.version for each in answers} == {3}


async def test_a_batch_is_a_span_with_a_link_to_each_call_and_a_lone_call_is_none(brain: Brain):
    batcher = Batcher(100, TRACER)

    async def call(value: float) -> None:
        with TRACER.start_as_current_span(f"call {value:g}"):
            await batcher.ask(brain, question(value))

    await call(0)
    await asyncio.gather(call(1), call(2))
    spans = {span.name: span for span in SPANS.get_finished_spans()}
    assert set(spans) == {"call 0", "call 1", "call 2", "batch.execute"}
    linked = {link.context.span_id for link in spans["batch.execute"].links}
    assert linked == {spans[name].context.span_id for name in ("call 1", "call 2")}


async def test_modes_are_asked_apart(echo: Echo, brain: Brain):
    batcher = Batcher(100, TRACER)
    modes = (Mode.EXPLORE, Mode.GREEDY, Mode.EXPLORE)
    await asyncio.gather(*(batcher.ask(brain, question(0, mode)) for mode in modes))
    assert sorted(echo.sizes) == [1, 2]


async def test_who_has_left_is_not_asked_for(echo: Echo, brain: Brain):
    batcher = Batcher(100, TRACER)
    calls = [asyncio.ensure_future(batcher.ask(brain, question(each))) for each in range(3)]
    asyncio.get_running_loop().call_soon(calls[1].cancel)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert sum(echo.sizes) <= 3
    assert [each.action[0] for each in (outcomes[0], outcomes[2]) if hasattr(each, "action")] == [0, 2]


async def test_too_many_questions_are_refused_at_once(brain: Brain):
    batcher = Batcher(2, TRACER)
    outcomes = await asyncio.gather(
        *(batcher.ask(brain, question(each)) for each in range(3)), return_exceptions=True
    )
    assert isinstance(outcomes[2], ResourceExhausted)
    assert outcomes[2].reason == Reason.QUEUE_FULL


async def test_a_choice_that_is_no_number_is_a_version_that_cannot_be_used(brain: Brain):
    batcher = Batcher(2, TRACER)
    with pytest.raises(FailedPrecondition) as refused:
        await batcher.ask(brain, question(float("nan")))
    assert refused.value.reason == Reason.VERSION_UNUSABLE
