"""Workers as the front calls them: tokens, vectors, and the stream of a worker's status."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import grpc
from trunkline.inference.v1.sampling_pb2 import Pooling as PoolingMessage
from trunkline.inference.v1.sampling_pb2 import SamplingParams, TokenIds
from trunkline.inference.v1.sampling_pb2 import Usage as UsageMessage
from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from gateway.front.calls import Sampling, TokenCall, TokenDelta, TokenFinish, Usage, VectorCall, Vectors
from gateway.front.routes import not_ready
from gateway.front.sampling import SamplingDefaults
from gateway.front.workers import ModelReport, WorkerReport
from services.kit.channel import Channels
from services.kit.errors import Cancelled, Internal, NotFound, Reason, TrunklineError, Unavailable
from services.kit.status import from_rpc_error

if TYPE_CHECKING:
    from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceAsyncStub


class WorkerClient:
    """Calls workers by their addresses."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._stubs: dict[str, WorkerServiceAsyncStub] = {}

    async def generate(self, address: str, call: TokenCall) -> AsyncGenerator[TokenDelta | TokenFinish, None]:
        """Yield what the worker makes: deltas, then one finish. Closing the generator cancels the call.

        Raises the worker's own TrunklineErrors, and Unavailable WORKER_UNAVAILABLE where it was lost or broke
        the stream off.
        """
        stream = self._to(address).Generate(_generate_request(call))
        finish = None
        try:
            async for message in stream:
                if message.HasField("finish"):
                    finish = _finish(
                        message.finish
                    )  # what follows is the status: read it, or the call is cancelled
                else:
                    yield TokenDelta(list(message.delta.token_ids), message.delta.logprobs)
        except grpc.aio.AioRpcError as error:
            if finish is None:
                raise _translated(error, call.model, address) from error
        finally:
            stream.cancel()
        if finish is None:
            raise _lost(address)
        yield finish

    async def embed(self, address: str, call: VectorCall) -> Vectors:
        """Return the vectors of `call.inputs`. Raises as `generate`."""
        request = pb.EmbedRequest(
            model=call.model,
            version=call.version,
            inputs=[TokenIds(ids=ids) for ids in call.inputs],
            pooling=PoolingMessage.ValueType(call.pooling),
            normalize=call.normalize,
            dimensions=call.dimensions,
        )
        try:
            response = await self._to(address).Embed(request)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, call.model, address) from error
        if len(response.values) != len(call.inputs) * response.dimensions * 4:
            raise _lost(address)
        return Vectors(response.values, response.dimensions, _usage(response.usage), call.version)

    async def watch(self, address: str) -> AsyncGenerator[WorkerReport, None]:
        """Yield the worker's reports until it is lost, which raises a TrunklineError, or stops."""
        stream = self._to(address).WatchStatus(pb.WatchStatusRequest())
        try:
            async for message in stream:
                yield _report(message)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            stream.cancel()

    async def forget(self, address: str) -> None:
        """Close the connection to a worker that has left the mesh."""
        self._stubs.pop(address, None)
        await self._channels.forget(address)

    def _to(self, address: str) -> WorkerServiceAsyncStub:
        stub = self._stubs.get(address)
        if stub is None:
            stub = self._stubs[address] = WorkerServiceStub(self._channels.to(address))
        return stub


def _generate_request(call: TokenCall) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        model=call.model, version=call.version, token_ids=call.token_ids, sampling=_sampling(call.sampling)
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


def _finish(finish: pb.GenerateResponse.Finish) -> TokenFinish:
    return TokenFinish(finish.reason, _usage(finish.usage), finish.timings)


def _usage(usage: UsageMessage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)


def _report(message: pb.WatchStatusResponse) -> WorkerReport:
    return WorkerReport(
        models={(each.model, each.version): _model(each) for each in message.models},
        draining=message.draining,
    )


def _model(status: pb.ModelStatus) -> ModelReport:
    advised = status.default_sampling
    chosen = {field.name: value for field, value in advised.ListFields()}
    return ModelReport(
        ready=status.state == pb.MODEL_STATE_READY,
        vocabulary_size=status.vocabulary_size,
        outstanding_tokens=status.load.outstanding_tokens,
        defaults=SamplingDefaults(**chosen),
    )


def _translated(error: grpc.aio.AioRpcError, model: str, address: str) -> TrunklineError:
    """Return the worker's own error, unless it is lost, stops, or has just unloaded the model."""
    translated = from_rpc_error(error)
    if isinstance(translated, NotFound):
        return not_ready(model)
    broken = isinstance(translated, Internal) and "error_id" not in translated.metadata
    leaving = translated.reason in {Reason.SERVICE_UNAVAILABLE, Reason.DRAINING}
    if broken or leaving or isinstance(translated, Cancelled):
        return _lost(address)
    return translated


def _lost(address: str) -> Unavailable:
    return Unavailable(
        Reason.WORKER_UNAVAILABLE,
        "the worker that ran this request was lost",
        metadata={"worker": address},
    )
