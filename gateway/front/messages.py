"""InferenceService's messages and the domain's calls, both ways."""

from __future__ import annotations

from trunkline.inference.v1 import inference_pb2 as pb
from trunkline.inference.v1 import sampling_pb2
from trunkline.inference.v1.sampling_pb2 import Usage as UsageMessage

from gateway.front.calls import (
    Conversation,
    EmbedCall,
    GenerateCall,
    Message,
    Ranking,
    RerankCall,
    Task,
    TextDelta,
    TextFinish,
    Usage,
    Vectors,
)
from gateway.front.routes import Route, Version

_TASKS = {Task.GENERATE: sampling_pb2.TASK_GENERATE, Task.EMBED: sampling_pb2.TASK_EMBED}
# Field 1, Embedding.values, of wire type 2: a length and that many bytes.
_VALUES_TAG = b"\x0a"
# Fields whose name and meaning are the call's; unset, they are left to its None.
_OPTIONAL = frozenset(
    (
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "logprobs",
    )
)


def generate_call(request: pb.GenerateRequest) -> GenerateCall:
    """Decode a Generate request."""
    return GenerateCall(
        model=request.model,
        source=_source(request),
        version=request.model_version if request.HasField("model_version") else None,
        stop=tuple(request.stop),
        stop_token_ids=tuple(request.stop_token_ids),
        ignore_eos=request.ignore_eos,
        tenant=request.tenant,
        priority=request.priority,
        **{field.name: value for field, value in request.ListFields() if field.name in _OPTIONAL},
    )


def generate_response(event: TextDelta | TextFinish) -> pb.GenerateResponse:
    """Encode an event of an answer."""
    if isinstance(event, TextFinish):
        return pb.GenerateResponse(finish=_finish(event))
    delta = pb.GenerateResponse.Delta(text=event.text, token_ids=event.ids, logprobs=event.logprobs)
    return pb.GenerateResponse(delta=delta)


def embed_call(request: pb.EmbedRequest) -> EmbedCall:
    """Decode an Embed request."""
    return EmbedCall(
        model=request.model,
        texts=tuple(request.texts),
        token_ids=tuple(tuple(each.ids) for each in request.token_ids),
        version=request.model_version if request.HasField("model_version") else None,
        pooling=request.pooling,
        normalize=request.normalize if request.HasField("normalize") else None,
        dimensions=request.dimensions if request.HasField("dimensions") else None,
        truncate=request.truncate if request.HasField("truncate") else True,
    )


def embed_response(vectors: Vectors) -> pb.EmbedResponse:
    """Encode vectors."""
    size = vectors.dimensions * 4
    prefix = _VALUES_TAG + _varint(size)
    return pb.EmbedResponse(
        # A packed field of floats is, on the wire, the worker's bytes: parsing them is 20 times as fast as
        # making a Python float of each.
        embeddings=[
            pb.Embedding.FromString(prefix + vectors.values[start : start + size])
            for start in range(0, len(vectors.values), size)
        ],
        usage=_usage(vectors.usage),
        model_version=vectors.version,
    )


def rerank_call(request: pb.RerankRequest) -> RerankCall:
    """Decode a Rerank request."""
    return RerankCall(
        model=request.model,
        query=request.query,
        documents=tuple(request.documents),
        version=request.model_version if request.HasField("model_version") else None,
        max_results=request.max_results if request.HasField("max_results") else None,
        truncate=request.truncate if request.HasField("truncate") else True,
    )


def rerank_response(ranking: Ranking) -> pb.RerankResponse:
    """Encode documents in order."""
    return pb.RerankResponse(
        results=[pb.RankedDocument(index=index, score=score) for index, score in ranking.results],
        usage=_usage(ranking.usage),
        model_version=ranking.version,
    )


def model(route: Route) -> pb.Model:
    """Encode what callers see of a model: its newest version speaks for all."""
    newest = route.versions[0] if route.versions else None
    return pb.Model(
        name=route.model,
        task=_TASKS.get(route.task, sampling_pb2.TASK_UNSPECIFIED),
        versions=map(_version, route.versions),
        context_length=newest.context_length if newest else 0,
        dimensions=newest.dimensions if newest else 0,
        tokenizer_digest=newest.tokenizer_digest if newest else "",
    )


def _version(version: Version) -> pb.ModelVersion:
    message = pb.ModelVersion(
        version=version.name, traffic_percent=version.traffic_percent, ready_workers=len(version.workers)
    )
    if version.ready_since is not None:
        message.ready_since.FromDatetime(version.ready_since)
    return message


def _source(request: pb.GenerateRequest) -> str | tuple[int, ...] | Conversation | None:
    match request.WhichOneof("input"):
        case "prompt":
            return request.prompt
        case "token_ids":
            return tuple(request.token_ids.ids)
        case "chat":
            messages = tuple(Message(each.role, each.content) for each in request.chat.messages)
            return Conversation(messages, request.chat.continue_last_message)
    return None


def _finish(event: TextFinish) -> pb.GenerateResponse.Finish:
    return pb.GenerateResponse.Finish(
        reason=sampling_pb2.FinishReason.ValueType(event.reason),
        usage=_usage(event.usage),
        timings=event.timings,
        stop=event.stop,
        model_version=event.version,
    )


def _usage(usage: Usage) -> UsageMessage:
    return UsageMessage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])
