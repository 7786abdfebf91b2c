"""What a worker is asked, as messages; and what it answers, as the front's own types."""

from __future__ import annotations

from trunkline.inference.v1.sampling_pb2 import Pooling as PoolingMessage
from trunkline.inference.v1.sampling_pb2 import SamplingParams
from trunkline.inference.v1.sampling_pb2 import Usage as UsageMessage
from trunkline.worker.v1 import worker_pb2 as pb

from gateway.front.calls import Sampling, TokenCall, TokenFinish, Usage, VectorCall, Vectors
from gateway.front.sampling import SamplingDefaults
from gateway.front.workers import ModelReport, WorkerReport


def fill_generate(request: pb.GenerateRequest, call: TokenCall) -> None:
    """Write `call` into an empty message that stands in another one already."""
    request.model, request.version = call.model, call.version
    request.token_ids.extend(call.token_ids)
    request.tenant, request.priority = call.tenant, call.priority
    request.sampling.MergeFrom(_sampling(call.sampling))


def fill_embed(request: pb.EmbedRequest, call: VectorCall) -> None:
    """Write `call` into an empty message that stands in another one already."""
    request.model, request.version = call.model, call.version
    for ids in call.inputs:
        request.inputs.add(ids=ids)
    request.pooling = PoolingMessage.ValueType(call.pooling)
    if call.normalize is not None:
        request.normalize = call.normalize
    if call.dimensions is not None:
        request.dimensions = call.dimensions


def token_finish(finish: pb.GenerateResponse.Finish) -> TokenFinish:
    """Decode the end of an answer."""
    return TokenFinish(finish.reason, _usage(finish.usage), finish.timings)


def vectors(response: pb.EmbedResponse, call: VectorCall) -> Vectors | None:
    """Decode the vectors of `call`; None where they are not what was asked for."""
    if len(response.values) != len(call.inputs) * response.dimensions * 4:
        return None
    return Vectors(response.values, response.dimensions, _usage(response.usage), call.version)


def worker_report(message: pb.WatchStatusResponse) -> WorkerReport:
    """Decode a worker's state."""
    return WorkerReport(
        models={(each.model, each.version): _model(each) for each in message.models},
        draining=message.draining,
    )


def _sampling(sampling: Sampling) -> SamplingParams:
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed,
        stop_token_ids=sampling.stop_token_ids,
        ignore_eos=sampling.ignore_eos,
        logprobs=sampling.logprobs,
    )


def _usage(usage: UsageMessage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)


def _model(status: pb.ModelStatus) -> ModelReport:
    advised = status.default_sampling
    chosen = {field.name: value for field, value in advised.ListFields()}
    return ModelReport(
        ready=status.state == pb.MODEL_STATE_READY,
        vocabulary_size=status.vocabulary_size,
        outstanding_tokens=status.load.outstanding_tokens,
        defaults=SamplingDefaults(**chosen),
    )
