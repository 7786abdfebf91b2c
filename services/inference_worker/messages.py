"""Between the worker's messages and its own types, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from google.protobuf.duration_pb2 import Duration
from trunkline.inference.v1 import sampling_pb2 as inference
from trunkline.worker.v1 import worker_pb2 as worker

from services.inference_worker.inbox import Progress
from services.inference_worker.model import Model
from services.inference_worker.requests import EmbeddingRequest, GenerationRequest
from services.inference_worker.status import DeviceState, WorkerState
from services.inference_worker.under_way import Embeddings, Ending
from services.inference_worker.wire import Load, Pooling, Sampling, TokenLogprob
from services.kit.errors import invalid
from services.kit.names import check_name
from services.store.spec import SamplingDefaults, Task

_TASKS = {Task.GENERATE: inference.TASK_GENERATE, Task.EMBED: inference.TASK_EMBED}
_REASONS = {"stop": inference.FINISH_REASON_STOP, "length": inference.FINISH_REASON_LENGTH}
_POOLINGS: dict[int, Pooling | None] = {
    inference.POOLING_UNSPECIFIED: None,
    inference.POOLING_MEAN: "mean",
    inference.POOLING_CLS: "cls",
    inference.POOLING_LAST: "last",
}


def generation_request(message: worker.GenerateRequest, left: float | None) -> GenerationRequest:
    """Decode; `left` is in seconds. Raises InvalidArgument for a name that is none."""
    return GenerationRequest(
        model=check_name("model", message.model),
        version=message.version,
        token_ids=list(message.token_ids),
        sampling=_sampling(message.sampling) if message.HasField("sampling") else None,
        deadline=_deadline(left),
        tenant=message.tenant,
        priority=message.priority,
    )


def embedding_request(message: worker.EmbedRequest, left: float | None) -> EmbeddingRequest:
    """Decode; `left` is in seconds. Raises InvalidArgument for a name or a pooling that is none."""
    if message.pooling not in _POOLINGS:
        raise invalid("pooling", f"must be a value of the enum Pooling, not {message.pooling}")
    return EmbeddingRequest(
        model=check_name("model", message.model),
        version=message.version,
        inputs=[list(each.ids) for each in message.inputs],
        pooling=_POOLINGS[message.pooling],
        normalize=message.normalize if message.HasField("normalize") else None,
        dimensions=message.dimensions if message.HasField("dimensions") else None,
        deadline=_deadline(left),
    )


def generate_responses(progress: Progress) -> Iterator[worker.GenerateResponse]:
    """Encode what was made as one delta, and the ending as a finish after it."""
    if progress.tokens:
        delta = worker.GenerateResponse.Delta(
            token_ids=progress.tokens, logprobs=map(token_logprob, progress.logprobs)
        )
        yield worker.GenerateResponse(delta=delta)
    if progress.ending is not None:
        yield worker.GenerateResponse(finish=finish(progress.ending))


def embed_response(made: Embeddings) -> worker.EmbedResponse:
    """Encode vectors."""
    usage = inference.Usage(prompt_tokens=made.prompt_tokens)
    return worker.EmbedResponse(values=made.values, dimensions=made.dimensions, usage=usage)


def finish(ending: Ending) -> worker.GenerateResponse.Finish:
    """Encode the end of an answer."""
    return worker.GenerateResponse.Finish(
        reason=_REASONS[ending.reason],
        usage=inference.Usage(
            prompt_tokens=ending.prompt_tokens,
            completion_tokens=ending.completion_tokens,
            cached_tokens=ending.cached_tokens,
        ),
        timings=inference.Timings(
            queue=_duration(ending.queue_s),
            prefill=_duration(ending.prefill_s),
            decode=_duration(ending.decode_s),
        ),
    )


def token_logprob(made: TokenLogprob) -> inference.TokenLogprob:
    """Encode the log probability of a token."""
    top = (inference.TopLogprob(token_id=token, logprob=logprob) for token, logprob in made.top)
    return inference.TokenLogprob(token_id=made.token, logprob=made.logprob, top=top)


def status_response(state: WorkerState) -> worker.WatchStatusResponse:
    """Encode a worker's state."""
    message = worker.WatchStatusResponse(
        instance_id=state.instance_id,
        devices=map(_device, state.devices),
        models=map(model_status, state.models),
        draining=state.draining,
    )
    message.observed_at.FromDatetime(state.observed_at)
    return message


def model_status(model: Model) -> worker.ModelStatus:
    """Encode a model."""
    message = worker.ModelStatus(
        model=model.spec.name,
        version=model.spec.version,
        state=worker.ModelState.Value(f"MODEL_STATE_{model.state}"),
        progress=model.progress,
        message=model.message,
        task=_TASKS[model.spec.task],
        device=model.device,
        dtype=model.dtype,
        tokenizer_digest=model.prepared.tokenizer_digest if model.prepared else "",
        default_sampling=_defaults(model.spec.sampling),
        memory_bytes=model.memory_bytes,
        load=_load(model.load),
    )
    if model.loaded is not None:
        message.context_length = model.loaded.context_length
        message.vocabulary_size = model.loaded.vocabulary_size
        message.dimensions = model.loaded.dimensions
    if model.ready_since is not None:
        message.ready_since.FromDatetime(model.ready_since)
    return message


def _sampling(message: inference.SamplingParams) -> Sampling:
    return Sampling(
        max_tokens=message.max_tokens,
        temperature=message.temperature,
        top_p=message.top_p,
        top_k=message.top_k,
        min_p=message.min_p,
        repetition_penalty=message.repetition_penalty,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        seed=message.seed if message.HasField("seed") else None,
        stop_token_ids=tuple(message.stop_token_ids),
        ignore_eos=message.ignore_eos,
        logprobs=message.logprobs if message.HasField("logprobs") else None,
    )


def _deadline(left: float | None) -> float | None:
    return None if left is None else monotonic() + left


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def _device(state: DeviceState) -> worker.DeviceStatus:
    return worker.DeviceStatus(
        device=state.device.name,
        description=state.device.description,
        total_memory_bytes=state.device.total_bytes,
        free_memory_bytes=state.device.free_bytes,
        engine_ready=state.engine_ready,
        engine_pid=state.engine_pid,
        engine_restarts=state.engine_restarts,
    )


def _defaults(sampling: SamplingDefaults) -> worker.DefaultSampling:
    return worker.DefaultSampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
    )


def _load(load: Load) -> worker.Load:
    return worker.Load(
        queued=load.queued,
        running=load.running,
        outstanding_tokens=load.outstanding_tokens,
        cache_tokens=load.cache_tokens,
        free_cache_tokens=load.free_cache_tokens,
        finished_requests=load.finished_requests,
        generated_tokens=load.generated_tokens,
        cached_prompt_tokens=load.cached_tokens_hit,
        prompt_tokens=load.prompt_tokens_read,
        preemptions=load.preemptions,
    )
