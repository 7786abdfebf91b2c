"""Workers as the front calls them: tokens, vectors, and the stream of a worker's status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import grpc
from trunkline.worker.v1 import worker_pb2 as pb
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from gateway.front.calls import TokenCall, TokenDelta, TokenFinish, VectorCall, Vectors
from gateway.front.inbox import Inbox
from gateway.front.routes import not_ready
from gateway.front.session_stream import SessionStream
from gateway.front.worker_requests import fill_embed, fill_generate, token_finish, vectors, worker_report
from gateway.front.workers import WorkerReport
from services.kit.channel import Channels, deadline_left
from services.kit.errors import Cancelled, Internal, NotFound, Reason, TrunklineError, Unavailable
from services.kit.rpc import Rpc
from services.kit.status import from_rpc_error
from services.kit.tracing import CallTelemetry, inject

if TYPE_CHECKING:
    from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceAsyncStub

_SERVICE = "trunkline.worker.v1.WorkerService"
# A request of a session is observed as the call that it stands for.
_GENERATE = Rpc(_SERVICE, "Generate", client_streaming=False, server_streaming=True)
_EMBED = Rpc(_SERVICE, "Embed", client_streaming=False, server_streaming=False)


class WorkerClient:
    """Calls workers by their addresses: one session a worker, opened by the first call that needs it.

    `stall_limit` is the seconds that may pass between two tokens of an answer. `close` ends all sessions.
    """

    def __init__(self, channels: Channels, stall_limit: float) -> None:
        self._channels = channels
        self._stall_limit = stall_limit
        self._lines: dict[str, _Line] = {}

    async def generate(self, address: str, call: TokenCall) -> AsyncGenerator[TokenDelta | TokenFinish, None]:
        """Yield what the worker makes: deltas, then one finish. Closing the generator cancels the call.

        Raises the worker's own TrunklineErrors, Unavailable WORKER_UNAVAILABLE where it was lost or broke the
        stream off, and Unavailable STREAM_STALLED.
        """
        inbox, line = Inbox(self._stall_limit), self._to(address)
        with line.requested(line.generate, inbox, len(call.token_ids), call.model) as submit:
            fill_generate(submit.generate, call)
            while isinstance(made := await inbox.take(), TokenDelta):
                yield made
            if not isinstance(made, pb.GenerateResponse.Finish):
                raise _lost(address)
        yield token_finish(made)

    async def embed(self, address: str, call: VectorCall) -> Vectors:
        """Return the vectors of `call.inputs`. Raises as `generate`."""
        inbox, line = Inbox(self._stall_limit), self._to(address)
        with line.requested(line.embed, inbox, sum(map(len, call.inputs)), call.model) as submit:
            fill_embed(submit.embed, call)
            made = await inbox.take()
            found = vectors(made, call) if isinstance(made, pb.EmbedResponse) else None
            if found is None:
                raise _lost(address)
        return found

    async def watch(self, address: str) -> AsyncGenerator[WorkerReport, None]:
        """Yield the worker's reports until it is lost, which raises a TrunklineError, or stops."""
        stream = self._to(address).stub.WatchStatus(pb.WatchStatusRequest())
        try:
            async for message in stream:
                yield worker_report(message)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            stream.cancel()

    async def forget(self, address: str) -> None:
        """Close the connection to a worker that has left the mesh."""
        line = self._lines.pop(address, None)
        if line is not None:
            await line.close()
        await self._channels.forget(address)

    async def close(self) -> None:
        """End what is under way."""
        lines, self._lines = self._lines, {}
        await asyncio.gather(*(line.close() for line in lines.values()))

    def _to(self, address: str) -> _Line:
        line = self._lines.get(address)
        if line is None:
            stub = WorkerServiceStub(self._channels.to(address))
            generate, embed = (self._channels.record(rpc, address) for rpc in (_GENERATE, _EMBED))
            line = self._lines[address] = _Line(address, stub, generate, embed)
        return line


@dataclass
class _Line:
    """The line to one worker: its session, while there is one, and what is recorded of its requests."""

    address: str
    stub: WorkerServiceAsyncStub
    generate: CallTelemetry
    embed: CallTelemetry
    _stream: SessionStream | None = None

    @contextmanager
    def requested(
        self, record: CallTelemetry, inbox: Inbox, tokens: int, model: str
    ) -> Iterator[pb.SessionSubmit]:
        """Submit what the block fills in before its first await; leaving the block early cancels it."""
        began, span = perf_counter(), record.start()
        stream = self._open()
        submit = stream.submit(inbox, tokens)
        request_id, code = submit.id, "CANCELLED"
        for key, value in inject(span):
            setattr(submit, key, value)
        if (left := deadline_left()) is not None:
            submit.timeout.FromNanoseconds(int(left * 1e9))
        try:
            yield submit
            code = "OK"
        except TrunklineError as error:
            code = error.code
            raise _translated(error, model, self.address) from error
        finally:
            inbox.close()
            stream.leave(request_id)
            record.finish(span, code, perf_counter() - began)

    async def close(self) -> None:
        """End the session."""
        if self._stream is not None:
            await self._stream.close()

    def _open(self) -> SessionStream:
        if self._stream is None or not self._stream.open:
            self._stream = SessionStream(self.stub.Session, lambda: _lost(self.address))
        return self._stream


def _translated(error: TrunklineError, model: str, address: str) -> TrunklineError:
    """Return the worker's own error, unless it is lost, stops, or has just unloaded the model."""
    if isinstance(error, NotFound):
        return not_ready(model)
    broken = isinstance(error, Internal) and "error_id" not in error.metadata
    leaving = error.reason in {Reason.SERVICE_UNAVAILABLE, Reason.DRAINING}
    return _lost(address) if broken or leaving or isinstance(error, Cancelled) else error


def _lost(address: str) -> Unavailable:
    return Unavailable(
        Reason.WORKER_UNAVAILABLE,
        "the worker that ran this request was lost",
        metadata={"worker": address},
    )
