"""A mesh with two small models that answer by rule: a real server, for commands to call."""

# ruff: noqa: N802 - rpcs carry the names of the contract

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_status import rpc_status
from trunkline.inference.v1.inference_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    ListModelsRequest,
    ListModelsResponse,
    Model,
    ModelVersion,
)
from trunkline.inference.v1.inference_pb2_grpc import (
    InferenceServiceServicer,
    add_InferenceServiceServicer_to_server,
)
from trunkline.inference.v1.sampling_pb2 import FinishReason, Task, Usage
from trunkline.monitor.v1.monitor_pb2_grpc import (
    MonitorServiceServicer,
    add_MonitorServiceServicer_to_server,
)

from services.kit.errors import InvalidArgument, NotFound, Reason, TrunklineError
from services.kit.status import to_status

GENERATOR, EMBEDDER = "smollm2-135m-instruct", "all-minilm-l6-v2"
CONTEXT_WORDS = 12


class Double(InferenceServiceServicer):
    """Says back what it was asked, word by word, and remembers each request.

    The word "forever" makes it say "on on on" and no more until it is cancelled, which sets `cancelled`.
    """

    def __init__(self) -> None:
        self.models = [model(EMBEDDER, Task.TASK_EMBED), model(GENERATOR, Task.TASK_GENERATE)]
        self.asked: list[GenerateRequest] = []
        self.trace_ids: list[str] = []
        self.cancelled = threading.Event()

    def Generate(self, request: GenerateRequest, context: Any) -> Iterator[GenerateResponse]:
        self.asked.append(request)
        self.trace_ids += [
            value.split("-")[1] for key, value in context.invocation_metadata() if key == "traceparent"
        ]
        words = request.prompt.split() or request.chat.messages[-1].content.split()
        spoken = sum(len(each.content.split()) for each in request.chat.messages)
        if request.model != GENERATOR:
            refuse(context, NotFound(Reason.MODEL_NOT_FOUND, f"no model {request.model!r}"))
        if spoken > CONTEXT_WORDS:
            refuse(context, InvalidArgument(Reason.CONTEXT_LENGTH_EXCEEDED, "the prompt is too long"))
        context.add_callback(self.cancelled.set)
        if "forever" in words:
            yield from [delta("on ")] * 3
            self.cancelled.wait()
        for word in words:
            yield delta(f"{word} ")
        usage = Usage(prompt_tokens=len(words), completion_tokens=len(words))
        finish = GenerateResponse.Finish(
            reason=FinishReason.FINISH_REASON_STOP, usage=usage, model_version="1"
        )
        yield GenerateResponse(finish=finish)

    def Embed(self, request: EmbedRequest, context: Any) -> EmbedResponse:
        answer = EmbedResponse(usage=Usage(prompt_tokens=len(request.texts)), model_version="1")
        for text in request.texts:
            answer.embeddings.add(values=[text.count("a"), text.count("b"), 0.5][: request.dimensions or 3])
        return answer

    def ListModels(self, request: ListModelsRequest, context: Any) -> ListModelsResponse:
        """Give one model a page, whatever the page size."""
        start = int(request.page_token or 0)
        more = str(start + 1) if start + 1 < len(self.models) else ""
        return ListModelsResponse(models=self.models[start : start + 1], next_page_token=more)


def model(name: str, task: Task.ValueType) -> Model:
    """Return a model with one version that is ready on one worker."""
    version = ModelVersion(version="1", traffic_percent=100, ready_workers=1)
    return Model(name=name, task=task, versions=[version], context_length=8192)


def delta(text: str) -> GenerateResponse:
    return GenerateResponse(delta=GenerateResponse.Delta(text=text))


def refuse(context: Any, error: TrunklineError) -> None:
    """End the call as the kit's server does."""
    context.abort_with_status(rpc_status.to_status(to_status(error)))


@contextmanager
def serving(double: Double, monitor: MonitorServiceServicer | None = None) -> Iterator[str]:
    """Serve on a port of the system's choice, with a monitor if there is one; yields the address."""
    server = grpc.server(ThreadPoolExecutor(4))
    add_InferenceServiceServicer_to_server(double, server)
    if monitor is not None:
        add_MonitorServiceServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
