"""Generate: tokens in, tokens out, one finish, and a place that is free as soon as nobody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trunkline.inference.v1.sampling_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    SamplingParams,
)
from trunkline.worker.v1.worker_pb2 import GenerateRequest

from tests.contract.inference_worker.running_worker import (
    ENCODER,
    GENERATOR,
    QUEUED,
    RUNNING,
    RunningWorker,
    failure,
    generate,
    request,
)
from tests.unit.inference_worker.tiny_models import CONTEXT, VOCABULARY, greedy, prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDLESS = {"max_tokens": 400, "ignore_eos": True}


async def test_greedy_tokens_equal_transformers_alone_and_sixteen_at_once(
    worker: RunningWorker, reference: Any
):
    prompts = [
        prompt(length, seed=length) for length in (1, 2, 3, 7, 20, 60, 100, 150, 256, 257, 300, 400, 490)
    ]
    expected = [greedy(reference, each, 16) for each in prompts]
    assert [(await generate(worker, request(each)))[0] for each in prompts] == expected
    together = await asyncio.gather(*(generate(worker, request(each)) for each in [*prompts, *prompts[:3]]))
    assert [made for made, _ in together] == expected + expected[:3]


async def test_a_finish_tells_what_was_used_and_where_the_time_went(worker: RunningWorker):
    began = time.monotonic()
    made, finish = await generate(worker, request(prompt(40), max_tokens=12, ignore_eos=True))
    took = time.monotonic() - began
    assert finish.reason == FINISH_REASON_LENGTH
    assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (40, len(made)) == (40, 12)
    stages = [
        each.ToTimedelta().total_seconds()
        for each in (finish.timings.queue, finish.timings.prefill, finish.timings.decode)
    ]
    assert all(stage >= 0 for stage in stages)
    assert stages[1] > 0
    assert stages[2] > 0
    assert sum(stages) <= took


async def test_a_stop_token_ends_an_answer(worker: RunningWorker, reference: Any):
    expected = greedy(reference, prompt(12, seed=5), 16)
    asked = request(prompt(12, seed=5), stop_token_ids=[expected[4]])
    made, finish = await generate(worker, asked)
    assert made == expected[: expected.index(expected[4])]
    assert finish.reason == FINISH_REASON_STOP


async def test_log_probabilities_come_with_their_tokens(worker: RunningWorker):
    asked = request(prompt(5), max_tokens=6, logprobs=2, ignore_eos=True)
    deltas = [event.delta async for event in worker.stub.Generate(asked)]
    told = [each for delta in deltas for each in delta.logprobs]
    assert [each.token_id for each in told] == [token for delta in deltas for token in delta.token_ids]
    assert all(each.token_id == each.top[0].token_id and len(each.top) == 2 for each in told)
    assert all(each.logprob <= 0 for each in told)


async def test_a_seed_repeats_an_answer_and_no_seed_does_not(worker: RunningWorker):
    asked = request(prompt(9), max_tokens=20, temperature=2.0, ignore_eos=True, seed=5)
    first, second = await asyncio.gather(generate(worker, asked), generate(worker, asked))
    assert first[0] == second[0]
    asked.sampling.ClearField("seed")
    first, second = await asyncio.gather(generate(worker, asked), generate(worker, asked))
    assert first[0] != second[0]


async def test_an_answer_ends_where_the_context_does(worker: RunningWorker):
    made, finish = await generate(worker, request(prompt(CONTEXT - 2), max_tokens=50, ignore_eos=True))
    assert len(made) == 2
    assert finish.reason == FINISH_REASON_LENGTH


async def test_what_is_not_there_is_not_found(worker: RunningWorker):
    asked = request(prompt(3))
    asked.model = "gtp-2"
    assert (await failure(worker.stub.Generate(asked))).reason == "MODEL_NOT_FOUND"
    asked = request(prompt(3))
    asked.version = "7"
    error = await failure(worker.stub.Generate(asked))
    assert error.reason == "VERSION_NOT_FOUND"
    assert error.metadata == {"model": GENERATOR, "version": "7"}


async def test_an_encoder_does_not_generate(worker: RunningWorker):
    asked = request(prompt(3))
    asked.model = ENCODER
    error = await failure(worker.stub.Generate(asked))
    assert error.reason == "TASK_UNSUPPORTED"
    assert error.metadata == {"model": ENCODER, "task": "EMBED"}


@pytest.mark.parametrize("name", ["", "No Name", "../etc", "a" * 64])
async def test_a_name_that_is_none_is_refused(worker: RunningWorker, name: str):
    asked = request(prompt(3))
    asked.model = name
    error = await failure(worker.stub.Generate(asked))
    assert [violation.field for violation in error.violations] == ["model"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_tokens": 0}, "sampling.max_tokens"),
        ({"temperature": math.nan}, "sampling.temperature"),
        ({"top_p": 0.0}, "sampling.top_p"),
        ({"logprobs": 21}, "sampling.logprobs"),
    ],
)
async def test_a_wrong_field_is_named(worker: RunningWorker, changes: dict[str, Any], field: str):
    error = await failure(worker.stub.Generate(request(prompt(3), **changes)))
    assert error.reason == "FIELD_INVALID"
    assert [violation.field for violation in error.violations] == [field]


async def test_a_prompt_longer_than_the_context_is_refused(worker: RunningWorker):
    error = await failure(worker.stub.Generate(request(prompt(CONTEXT))))
    assert error.reason == "CONTEXT_LENGTH_EXCEEDED"
    assert error.metadata == {"prompt_tokens": str(CONTEXT), "context_length": str(CONTEXT)}


_floats = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, 100.0, -1.0, 1e-45]))
_asked = st.builds(
    GenerateRequest,
    model=st.sampled_from([GENERATOR, GENERATOR, GENERATOR, ENCODER, "", "x"]),
    version=st.sampled_from(["", "", "1", "x"]),
    token_ids=st.lists(st.one_of(st.integers(0, VOCABULARY + 2), st.integers(0, 2**32 - 1)), max_size=6),
    sampling=st.builds(
        SamplingParams,
        max_tokens=st.integers(0, 3),
        temperature=_floats,
        top_p=_floats,
        top_k=st.integers(0, 2**32 - 1),
        min_p=_floats,
        repetition_penalty=_floats,
        presence_penalty=_floats,
        frequency_penalty=_floats,
        seed=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
        stop_token_ids=st.lists(st.integers(0, 2**32 - 1), max_size=66),
        ignore_eos=st.booleans(),
        logprobs=st.one_of(st.none(), st.integers(0, 22)),
    ),
)
FINE = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}


async def test_odd_input_is_answered_or_refused_and_nothing_breaks(worker: RunningWorker):
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(_odd_input, worker, loop, 60)
    await worker.until_idle()


@pytest.mark.soak
async def test_two_thousand_odd_inputs_break_nothing(worker: RunningWorker):
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(_odd_input, worker, loop, 2_000)
    await worker.until_idle()


def _odd_input(worker: RunningWorker, loop: asyncio.AbstractEventLoop, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(_asked)
    def ask(asked: GenerateRequest) -> None:
        asyncio.run_coroutine_threadsafe(_ask(worker, asked), loop).result(30)

    ask()


async def _ask(worker: RunningWorker, asked: GenerateRequest) -> None:
    call = worker.stub.Generate(asked)
    with contextlib.suppress(grpc.aio.AioRpcError):
        async for _ in call:
            pass
    code = await call.code()
    assert code.name in FINE, (asked, code, await call.details())


async def test_no_place_leaks_over_fifty_cancels(worker: RunningWorker):
    await _cancel_many(worker, 50)


@pytest.mark.soak
async def test_no_place_leaks_over_two_hundred_cancels(worker: RunningWorker):
    await _cancel_many(worker, 200)


async def _cancel_many(worker: RunningWorker, tries: int) -> None:
    """Cancel endless answers after their third token, six at once; nothing may be left of them."""
    places = asyncio.Semaphore(6)

    async def cancel_one(number: int) -> None:
        async with places:
            call, tokens = worker.stub.Generate(request(prompt(number + 1), **ENDLESS)), 0
            async for event in call:
                tokens += len(event.delta.token_ids)
                if tokens >= 3:
                    break
            call.cancel()

    before = (await worker.until_idle()).load
    await asyncio.gather(*(cancel_one(number) for number in range(tries)))
    after = (await worker.until_idle()).load
    assert after.finished_requests == before.finished_requests
    assert after.generated_tokens < before.generated_tokens + tries * 400


async def test_a_cancel_while_waiting_in_the_queue_frees_the_place(worker: RunningWorker):
    calls = [worker.stub.Generate(request(prompt(3), **ENDLESS)) for _ in range(RUNNING + 4)]
    await worker.until(lambda state: any(model.load.queued == 4 for model in state.models), within=60)
    for call in calls:
        call.cancel()
    await worker.until_idle()


async def test_a_passed_deadline_ends_the_call_and_frees_its_place(worker: RunningWorker):
    call = worker.stub.Generate(request(prompt(3), **ENDLESS), timeout=0.05)
    error = await failure(call)
    assert error.code == "DEADLINE_EXCEEDED"
    await worker.until_idle()


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(worker: RunningWorker):
    calls = [worker.stub.Generate(request(prompt(3), **ENDLESS)) for _ in range(RUNNING + QUEUED)]
    await asyncio.gather(*(call.initial_metadata() for call in calls[:1]))
    full = lambda state: any(model.load.queued == QUEUED for model in state.models)  # noqa: E731
    await worker.until(full, within=60)
    error = await failure(worker.stub.Generate(request(prompt(3), **ENDLESS)))
    assert error.code == "RESOURCE_EXHAUSTED"
    assert error.reason == "QUEUE_FULL"
    assert error.metadata == {"model": GENERATOR, "limit": str(RUNNING + QUEUED)}
    assert error.retry_after == 1.0
    for call in calls:
        call.cancel()
    await worker.until_idle()


async def test_a_long_prompt_does_not_stall_a_stream(worker: RunningWorker):
    """Between two tokens of the stream lies at most one chunk of the others' prompts."""
    stream = worker.stub.Generate(request(prompt(3), **ENDLESS))
    events = aiter(stream)
    await anext(events)
    await asyncio.gather(*(generate(worker, request(prompt(500, seed=n), max_tokens=1)) for n in range(5)))
    async with asyncio.timeout(60):
        await anext(events)
    stream.cancel()
    await worker.until_idle()
