"""What a call leaves in its trace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kit import semconv
from services.kit.telemetry import Telemetry
from tests.contract.front.mesh import Mesh, running_mesh
from tests.contract.front.worker_double import WorkerDouble, hangs
from tests.eventually import eventually

FRONT = "trunkline.inference.v1.InferenceService"
TOKENIZER = "trunkline.tokenizer.v1.TokenizerService"
WORKER = "trunkline.worker.v1.WorkerService"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def observed(exporter: InMemorySpanExporter) -> AsyncIterator[Mesh]:
    """A front whose spans are kept."""
    telemetry = Telemetry.of(Resource.get_empty(), processor=SimpleSpanProcessor(exporter))
    with telemetry:
        async with running_mesh(WorkerDouble(), telemetry=telemetry) as mesh:
            yield mesh


async def tree(exporter: InMemorySpanExporter) -> dict[str, str]:
    """Return the status of each span by its path, once the server's own span has ended."""

    async def ended() -> bool:
        return any(span.parent is None for span in exporter.get_finished_spans())

    await eventually(ended, within=60)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}

    def path(span: ReadableSpan) -> str:
        parent = spans.get(span.parent.span_id) if span.parent else None
        return f"{path(parent)} > {span.name}" if parent else span.name

    statuses = {}
    for span in spans.values():
        statuses[path(span)] = str((span.attributes or {})[semconv.RPC_RESPONSE_STATUS_CODE])
    return statuses


async def test_a_generate_holds_the_calls_it_made(observed: Mesh, exporter: InMemorySpanExporter) -> None:
    await observed.generate()
    assert await tree(exporter) == {
        f"{FRONT}/Generate": "OK",
        f"{FRONT}/Generate > {TOKENIZER}/Encode": "OK",
        f"{FRONT}/Generate > {WORKER}/Generate": "OK",
    }


async def test_an_embed_holds_the_calls_it_made(observed: Mesh, exporter: InMemorySpanExporter) -> None:
    await observed.embed("a")
    assert await tree(exporter) == {
        f"{FRONT}/Embed": "OK",
        f"{FRONT}/Embed > {TOKENIZER}/Encode": "OK",
        f"{FRONT}/Embed > {WORKER}/Embed": "OK",
    }


async def test_a_stop_string_shows_as_a_cancelled_call_of_a_good_answer(
    observed: Mesh, exporter: InMemorySpanExporter
) -> None:
    observed.worker.script = hangs("Oslo.")
    await observed.generate(stop=["."])
    statuses = await tree(exporter)
    assert statuses[f"{FRONT}/Generate"] == "OK"
    assert statuses[f"{FRONT}/Generate > {WORKER}/Generate"] == "CANCELLED"
