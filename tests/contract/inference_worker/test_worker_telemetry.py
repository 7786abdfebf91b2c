"""What a trace and the metrics tell of a request."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from trunkline.inference.v1.sampling_pb2 import TokenIds
from trunkline.worker.v1.worker_pb2 import EmbedRequest

from tests.contract.inference_worker.running_worker import (
    ENCODER,
    GENERATOR,
    RunningWorker,
    generate,
    request,
)
from tests.eventually import eventually
from tests.unit.inference_worker.tiny_models import prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVICE = "trunkline.worker.v1.WorkerService"


def named(worker: RunningWorker, name: str) -> list[ReadableSpan]:
    return [span for span in worker.spans.get_finished_spans() if span.name == name]


async def finished(worker: RunningWorker, name: str, count: int) -> list[ReadableSpan]:
    """Return the server's spans, which end a moment after the caller has its answer."""

    async def are_there() -> bool:
        return len(named(worker, name)) == count

    await eventually(are_there, within=60)
    return named(worker, name)


async def test_a_generate_is_a_span_with_its_stages_below_it(worker: RunningWorker):
    await worker.until_idle()
    worker.spans.clear()
    await generate(worker, request(prompt(40), max_tokens=8, ignore_eos=True))
    (call,) = await finished(worker, f"{SERVICE}/Generate", 1)
    assert call.context is not None
    stages = [named(worker, f"engine.{stage}")[0] for stage in ("queue", "prefill", "decode")]
    for stage in stages:
        assert stage.parent is not None
        assert stage.parent.span_id == call.context.span_id
    times: list[Any] = [
        call.start_time,
        *(t for s in stages for t in (s.start_time, s.end_time)),
        call.end_time,
    ]
    slack = 2_000_000  # both clocks are read for each end of a span
    assert all(before <= after + slack for before, after in itertools.pairwise(times))
    assert stages[1].attributes is not None
    assert stages[1].attributes["gen_ai.usage.input_tokens"] == 40
    assert stages[2].attributes is not None
    assert stages[2].attributes["gen_ai.usage.output_tokens"] == 8
    assert "gen_ai.first_token" in [event.name for event in call.events]


async def test_a_batch_is_a_trace_of_its_own_with_links_to_its_calls(worker: RunningWorker):
    await worker.until_idle()
    worker.spans.clear()
    calls = [
        worker.stub.Embed(EmbedRequest(model=ENCODER, inputs=[TokenIds(ids=prompt(30, n))] * 4))
        for n in range(5)
    ]
    await asyncio.gather(*calls)
    servers = {
        span.context.span_id: span for span in await finished(worker, f"{SERVICE}/Embed", 5) if span.context
    }
    batches = {span.context.span_id: span for span in named(worker, "batch.execute") if span.context}
    linked = {link.context.span_id for batch in batches.values() for link in batch.links}
    assert linked == set(servers)
    assert all(batch.parent is None for batch in batches.values())
    waits = named(worker, "batch.wait")
    assert {wait.parent.span_id for wait in waits if wait.parent} == set(servers)
    assert len(waits) == 5
    assert all(wait.links[0].context.span_id in batches for wait in waits)


async def test_durations_and_tokens_are_counted_by_model(worker: RunningWorker):
    before = counted(worker)
    await generate(worker, request(prompt(21), max_tokens=4, ignore_eos=True))
    await worker.stub.Embed(EmbedRequest(model=ENCODER, inputs=[TokenIds(ids=prompt(9))]))
    after = counted(worker)

    def rise(name: str, model: str) -> float:
        return after.get((name, model), 0) - before.get((name, model), 0)

    assert rise("trunkline.model.prompt_tokens", GENERATOR) == 21
    assert rise("trunkline.model.generated_tokens", GENERATOR) == 4
    assert rise("trunkline.model.prompt_tokens", ENCODER) == 9
    for name in ("request.duration", "time_to_first_token", "time_per_output_token"):
        assert rise(f"gen_ai.server.{name}", GENERATOR) == 1
    assert rise("gen_ai.server.request.duration", ENCODER) == 1
    for name in ("duration", "tokens"):
        assert rise(f"trunkline.model.step.{name}", GENERATOR) >= 4, "each token takes a step"
        assert rise(f"trunkline.model.step.{name}", ENCODER) >= 1


def counted(worker: RunningWorker) -> dict[tuple[str, str], float]:
    """Return the count of each histogram and the value of each counter, by name and model."""
    data = worker.metrics.get_metrics_data()
    found: dict[tuple[str, str], float] = {}
    for resource in data.resource_metrics if data else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in metric.data.data_points:
                model = str((point.attributes or {}).get("gen_ai.request.model", ""))
                found[metric.name, model] = getattr(point, "count", None) or getattr(point, "value", 0)
    return found
