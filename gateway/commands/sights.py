"""What a tour looks at: an answer, likenesses of sentences, the mesh's state, the answer's trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import grpc
from trunkline.inference.v1.inference_pb2 import GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.inference.v1.sampling_pb2 import Task
from trunkline.monitor.v1.monitor_pb2 import GetMeshRequest, GetTraceRequest, GetTraceResponse, Mesh, Span
from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

from gateway.commands.answer import Answer, chat, conversation, stream
from gateway.commands.embedding import cosine, embed
from gateway.commands.offer import UNARY_SECONDS, model_for
from gateway.commands.trace_context import TraceContext
from services.kit.command import CommandError

QUESTION = "What is the capital of France?"
TEXTS = ("A cat sleeps on the sofa.", "A kitten is napping on the couch.", "The stock market fell today.")
MAX_TOKENS = 64
TRACE_SECONDS = 10.0
REPORT_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.3
CALLED = tuple(f"trunkline.inference.v1.InferenceService/{rpc}" for rpc in ("Generate", "Embed"))
HOPS = frozenset({"front", "tokenizer", "inference_worker"})
"""The services whose spans a whole trace of an answer has, beside Envoy's."""
ENGINE_SPAN = "engine.decode"


@dataclass(frozen=True)
class Likeness:
    """How alike the first of TEXTS is to a sentence that means the same, and to one that does not."""

    model: str
    related: float
    unrelated: float
    dimensions: int


def ask(public: grpc.Channel, show: Callable[[str], None]) -> Answer:
    """Return the answer to QUESTION, shown as it comes; raises CommandError when it is empty."""
    stub = InferenceServiceStub(public)
    model = model_for(stub, Task.TASK_GENERATE, None)
    asked = GenerateRequest(model=model, max_tokens=MAX_TOKENS, temperature=0)
    asked.chat.CopyFrom(chat(conversation(QUESTION, None)))
    answer = stream(stub, asked, show, TraceContext())
    if not answer.text.strip():
        raise CommandError(f"{model} gave an empty answer.")
    return answer


def compare(public: grpc.Channel) -> Likeness:
    """Return how alike TEXTS are; raises CommandError when the vectors do not tell them apart."""
    stub = InferenceServiceStub(public)
    model = model_for(stub, Task.TASK_EMBED, None)
    first, second, third = embed(stub, model, TEXTS).vectors
    likeness = Likeness(model, cosine(first, second), cosine(first, third), len(first))
    if likeness.related <= likeness.unrelated:
        raise CommandError(f"{model} finds unrelated sentences as alike as related ones.")
    return likeness


def picture(public: grpc.Channel, asked: Collection[str]) -> Mesh:
    """Return the mesh's state once it counts the tour's calls: its rpcs, and those to the models `asked`.

    Processes send their counts each second. Raises CommandError when they do not arrive.
    """
    stub, give_up = MonitorServiceStub(public), time.monotonic() + REPORT_SECONDS
    while time.monotonic() < give_up:
        mesh = stub.GetMesh(GetMeshRequest(), timeout=UNARY_SECONDS).mesh
        heard = {each.rpc for each in mesh.rpcs if each.calls}
        heard |= {each.model for each in mesh.models if each.requests}
        if heard >= {*CALLED, *asked}:
            return mesh
        time.sleep(LOOK_EVERY_SECONDS)
    raise CommandError("The monitor has not heard of the calls that were made; see `trunkline status`.")


def whole_trace(operators: grpc.Channel, trace_id: str) -> GetTraceResponse:
    """Return an answer's trace once every hop's spans are in; raises CommandError when some never come.

    Spans travel for a moment after the call has ended: Envoy's, and each process's own.
    """
    stub, give_up = MonitorServiceStub(operators), time.monotonic() + TRACE_SECONDS
    seen = -1
    while time.monotonic() < give_up:
        trace = _trace(stub, trace_id)
        if not missing_hops(trace.spans) and len(trace.spans) == seen:
            return trace
        seen = len(trace.spans)
        time.sleep(LOOK_EVERY_SECONDS)
    missing = ", ".join(missing_hops(_trace(stub, trace_id).spans)) or "the last of its spans"
    raise CommandError(f"The trace {trace_id} has not become whole: {missing} is missing.")


def missing_hops(spans: Sequence[Span]) -> tuple[str, ...]:
    """Return which hops of a Generate have no span among `spans`."""
    services, names = {span.service for span in spans}, {span.name for span in spans}
    missing = sorted(HOPS - services)
    if not services - HOPS:
        missing.append("Envoy")
    return (*missing, *({ENGINE_SPAN} - names))


def _trace(stub: MonitorServiceStub, trace_id: str) -> GetTraceResponse:
    try:
        return stub.GetTrace(GetTraceRequest(trace_id=trace_id), timeout=UNARY_SECONDS)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return GetTraceResponse()
