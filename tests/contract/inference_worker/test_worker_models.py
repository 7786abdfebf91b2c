"""Models come, are listed, and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
from trunkline.inference.v1.sampling_pb2 import TASK_EMBED, TASK_GENERATE
from trunkline.worker.v1.worker_pb2 import (
    MODEL_STATE_FAILED,
    MODEL_STATE_READY,
    MODEL_STATE_UNLOADING,
    ListModelsRequest,
    LoadModelRequest,
    ModelStatus,
    UnloadModelRequest,
)

from services.inference_worker.devices import Device
from tests.contract.inference_worker.running_worker import (
    ENCODER,
    GENERATOR,
    RUNNING,
    RunningWorker,
    failure,
    generate,
    request,
    running_worker,
    status,
)
from tests.unit.inference_worker.tiny_models import CONTEXT, VOCABULARY, prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def load(worker: RunningWorker, model: str, **where: str) -> ModelStatus:
    response = await worker.stub.LoadModel(LoadModelRequest(model=model, **where))
    return response.model  # type: ignore[no-any-return]


async def unload(worker: RunningWorker, model: str, version: str = "") -> None:
    await worker.stub.UnloadModel(UnloadModelRequest(model=model, version=version))


async def names(worker: RunningWorker, **page: Any) -> list[str]:
    listed = await worker.stub.ListModels(ListModelsRequest(**page))
    return [f"{model.model} {model.version}" for model in listed.models]


async def test_a_ready_model_is_described(worker: RunningWorker):
    generator, encoder = await load(worker, GENERATOR), await load(worker, ENCODER)
    assert (generator.state, generator.task, generator.device) == (MODEL_STATE_READY, TASK_GENERATE, "cpu")
    assert (generator.context_length, generator.vocabulary_size) == (CONTEXT, VOCABULARY)
    assert (generator.dtype, len(generator.tokenizer_digest)) == ("float32", 64)
    assert generator.memory_bytes > 100_000
    assert generator.default_sampling.temperature == 0.5
    assert not generator.default_sampling.HasField("top_p")
    assert generator.HasField("ready_since")
    assert (encoder.task, encoder.dimensions) == (TASK_EMBED, 64)


async def test_loading_a_ready_model_answers_at_once(worker: RunningWorker):
    before = await load(worker, GENERATOR)
    async with asyncio.timeout(60):
        again = await load(worker, GENERATOR)
    assert again.ready_since == before.ready_since


async def test_calls_for_one_model_wait_for_one_load(worker: RunningWorker):
    loaded = await asyncio.gather(*(load(worker, "spare", version="1") for _ in range(4)))
    assert len({model.ready_since.ToNanoseconds() for model in loaded}) == 1
    await unload(worker, "spare")


async def test_the_newest_version_is_loaded_and_asked_unless_one_is_named(worker: RunningWorker):
    assert (await load(worker, "spare")).version == "2"
    await load(worker, "spare", version="1")
    assert await names(worker) == ["spare 1", "spare 2", f"{ENCODER} 1", f"{GENERATOR} 1"]
    await unload(worker, "spare")
    assert "spare 1" in await names(worker)
    await unload(worker, "spare", "1")


async def test_lists_come_in_pages(worker: RunningWorker):
    first = await worker.stub.ListModels(ListModelsRequest(page_size=1))
    assert [model.model for model in first.models] == [ENCODER]
    assert await names(worker, page_size=1, page_token=first.next_page_token) == [f"{GENERATOR} 1"]
    error = await failure(worker.stub.ListModels(ListModelsRequest(page_token="nonsense")))
    assert error.reason == "FIELD_INVALID"


async def test_running_calls_end_before_their_model_goes(worker: RunningWorker):
    await load(worker, "spare", version="1")
    asked = request(prompt(5), max_tokens=300, ignore_eos=True)
    asked.model = "spare"
    stream = worker.stub.Generate(asked)
    events = aiter(stream)
    made = list((await anext(events)).delta.token_ids)
    going = asyncio.ensure_future(worker.stub.UnloadModel(UnloadModelRequest(model="spare")))
    await worker.until(lambda state: status(state, "spare").state == MODEL_STATE_UNLOADING)
    refused = await failure(worker.stub.Generate(asked))
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "MODEL_NOT_READY")
    async for event in events:
        made += event.delta.token_ids
    assert len(made) == 300
    await going
    assert not [name for name in await names(worker) if name.startswith("spare")]


async def test_what_is_not_in_the_catalogue_cannot_be_loaded(worker: RunningWorker):
    assert (await failure(worker.stub.LoadModel(LoadModelRequest(model="gtp-2")))).reason == "MODEL_NOT_FOUND"
    call = worker.stub.LoadModel(LoadModelRequest(model=GENERATOR, version="9"))
    assert (await failure(call)).reason == "VERSION_NOT_FOUND"
    assert (await failure(worker.stub.LoadModel(LoadModelRequest()))).reason == "FIELD_INVALID"


async def test_what_is_not_here_cannot_be_unloaded(worker: RunningWorker):
    call = worker.stub.UnloadModel(UnloadModelRequest(model="spare"))
    assert (await failure(call)).reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("bloom", "MODEL_LOAD_FAILED"),
        ("pickled", "MODEL_LOAD_FAILED"),
        ("garbage", "MODEL_LOAD_FAILED"),
        ("absent", "MODEL_SOURCE_INVALID"),
    ],
)
async def test_a_model_that_cannot_be_loaded_says_why_and_harms_nobody(
    worker: RunningWorker, model: str, reason: str
):
    error = await failure(worker.stub.LoadModel(LoadModelRequest(model=model)))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", reason)
    state = status(await worker.until(lambda state: bool(status(state, model).model)), model)
    assert state.state == MODEL_STATE_FAILED
    assert state.message == error.message
    await generate(worker, request(prompt(4)))
    await unload(worker, model)


async def test_a_device_that_is_not_there_is_named(worker: RunningWorker):
    call = worker.stub.LoadModel(LoadModelRequest(model="spare", device="cuda:3"))
    error = await failure(call)
    assert error.reason == "DEVICE_NOT_FOUND"
    assert error.metadata == {"device": "cuda:3", "devices": "cpu"}
    await unload(worker, "spare")


class SmallMachine:
    """A machine with hardly any memory."""

    def observe(self) -> tuple[Device, ...]:
        return (Device("cpu", "a small one", 300 << 20, 200 << 20),)


async def test_a_model_that_does_not_fit_is_refused_with_the_arithmetic(tmp_path: Path):
    async with running_worker(tmp_path, inventory=SmallMachine(), models=()) as small:
        error = await failure(small.stub.LoadModel(LoadModelRequest(model=GENERATOR)))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "DEVICE_MEMORY_EXHAUSTED")
        parts = ("weight_bytes", "cache_bytes", "workspace_bytes")
        assert sum(int(error.metadata[part]) for part in parts) == int(error.metadata["needed_bytes"])
        assert int(error.metadata["needed_bytes"]) > int(error.metadata["free_bytes"]) == 200 << 20
        state = await small.until(lambda state: bool(state.models))
        assert state.devices[0].engine_pid == 0


async def test_a_cache_without_a_bound_holds_all_sequences_at_their_longest(tmp_path: Path):
    async with running_worker(tmp_path, models=(GENERATOR,), cache_tokens=0) as unbounded:
        state = await unbounded.until_ready(GENERATOR)
        assert status(state, GENERATOR).load.cache_tokens == RUNNING * CONTEXT


async def test_an_engine_without_models_ends_and_the_next_load_starts_one(worker: RunningWorker):
    state = await worker.until_ready(GENERATOR, ENCODER)
    engine = psutil.Process(state.devices[0].engine_pid)
    for name in (GENERATOR, ENCODER):
        await unload(worker, name)
    assert not engine.is_running()
    state = await worker.until(lambda state: not state.devices[0].engine_ready)
    assert state.devices[0].engine_pid == 0
    await asyncio.gather(load(worker, GENERATOR), load(worker, ENCODER))
    await generate(worker, request(prompt(4)))
