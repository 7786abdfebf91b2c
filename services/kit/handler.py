"""Handlers in one shape: whatever the kind of the rpc, a layer sees one coroutine that answers one call.

A server stream's generator becomes a coroutine that writes, so that a layer's `try … finally` spans the whole
call and the generator is closed in the call's own task, with its context, as soon as the call ends.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
from opentelemetry import trace

from services.kit import semconv
from services.kit.errors import InvalidArgument, Reason, ResourceExhausted, Unimplemented
from services.kit.rpc import Rpc
from services.kit.transport import MESSAGE_LIMIT_BYTES

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
# Takes the request (an iterator for a client stream); returns the response's bytes, None for a stream.
Handler: TypeAlias = Callable[[Any, Context], Awaitable[bytes | None]]
Layer: TypeAlias = Callable[[Rpc, Handler], Handler]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_MALFORMED = object()
# One name for all paths that nobody serves: a caller must not be able to make up names of spans and metrics.
_OTHER = Rpc("_OTHER", "_OTHER", client_streaming=True, server_streaming=True)


class Registrar:
    """Stands in for the server in `add_XServicer_to_server`, and registers every handler inside `layers`."""

    def __init__(self, server: grpc.aio.Server, layers: Sequence[Layer]) -> None:
        self._server = server
        self._layers = layers

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Register handlers that look methods up themselves, wrapped (all that older generated code has)."""
        self._server.add_generic_rpc_handlers([_Wrapped(each, self._layers) for each in generic_rpc_handlers])

    def add_registered_method_handlers(
        self, service: str, method_handlers: Mapping[str, MethodHandler]
    ) -> None:
        """Register `method_handlers`, wrapped."""
        wrapped = {name: wrap(service, name, each, self._layers) for name, each in method_handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)


def wrap(service: str, name: str, handler: MethodHandler, layers: Sequence[Layer]) -> MethodHandler:
    """Return `handler` inside `layers`, the first of which is outermost."""
    rpc = Rpc(service, name, handler.request_streaming, handler.response_streaming)
    run = _runner(rpc, handler)
    for layer in reversed(layers):
        run = layer(rpc, run)
    return _make(rpc, run, _guarded(handler.request_deserializer))


def refusal(layers: Sequence[Layer]) -> grpc.GenericRpcHandler:
    """Return the handler for every path that nobody serves: UNIMPLEMENTED, with its reason."""
    return _Refusal(layers)


class _Wrapped(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler, layers: Sequence[Layer]) -> None:
        self._inner = inner
        self._layers = layers
        self._known: dict[str, MethodHandler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        path = handler_call_details.method
        if path not in self._known:
            found = self._inner.service(handler_call_details)
            if found is None:
                return None
            service, _, name = path.lstrip("/").rpartition("/")
            self._known[path] = wrap(service, name, found, self._layers)
        return self._known[path]


class _Refusal(grpc.GenericRpcHandler):
    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler:
        path = handler_call_details.method

        async def run(_requests: Any, _context: Context) -> None:
            raise _unserved(path)

        handler: Handler = run
        for layer in reversed(self._layers):
            handler = layer(_OTHER, handler)
        return _make(_OTHER, handler, None)


def _runner(rpc: Rpc, handler: MethodHandler) -> Handler:
    behaviour, serialize = _behaviour(handler), _serializer(handler)
    if rpc.server_streaming and not inspect.iscoroutinefunction(behaviour):
        return _streaming(rpc, behaviour, serialize)
    if not inspect.iscoroutinefunction(behaviour):
        return _unimplemented(rpc)

    async def run(request: Any, context: Context) -> bytes | None:
        response = await behaviour(_checked(rpc, request), _Writer(context, serialize) if writes else context)
        return None if writes else serialize(response)

    writes = rpc.server_streaming
    return run


def _streaming(
    rpc: Rpc, behaviour: Callable[[Any, Context], AsyncIterator[Any]], serialize: Callable[[Any], bytes]
) -> Handler:
    async def run(request: Any, context: Context) -> None:
        try:
            messages = behaviour(_checked(rpc, request), context)
        except NotImplementedError:  # what a generated base class raises for a method that was left out
            raise _unserved(rpc.path) from None
        try:
            first = True
            async for message in messages:
                await context.write(serialize(message))
                if first:
                    first = False
                    trace.get_current_span().add_event(semconv.FIRST_MESSAGE)
        finally:
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()

    return run


def _unimplemented(rpc: Rpc) -> Handler:
    async def run(_request: Any, _context: Context) -> None:
        raise _unserved(rpc.path)

    return run


class _Writer:
    """A context whose `write` takes messages, for stream handlers that write instead of yielding."""

    def __init__(self, context: Context, serialize: Callable[[Any], bytes]) -> None:
        self._context = context
        self._serialize = serialize

    async def write(self, message: Any) -> None:
        await self._context.write(self._serialize(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _checked(rpc: Rpc, request: Any) -> Any:
    if rpc.client_streaming:
        return _checked_each(rpc, request)
    if request is _MALFORMED:
        raise _malformed(rpc)
    return request


async def _checked_each(rpc: Rpc, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the requests. They end in the same way for a caller who half-closed and for one who cancelled.

    gRPC tells of a cancel a moment later, so a handler must not take the end of the requests for their last.
    """
    async for request in requests:
        if request is _MALFORMED:
            raise _malformed(rpc)
        yield request


def _guarded(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Return a deserializer that marks instead of raising: grpc.aio would send the exception's text."""
    if deserialize is None:
        return None

    def guarded(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception:  # noqa: BLE001 - protobuf, or any other codec; the layers answer REQUEST_MALFORMED
            return _MALFORMED

    return guarded


def _serializer(handler: MethodHandler) -> Callable[[Any], bytes]:
    """Return a serializer that runs inside the layers, so that its errors are answered like any other."""
    original = handler.response_serializer or bytes

    def serialize(message: Any) -> bytes:
        data = original(message)
        if len(data) > MESSAGE_LIMIT_BYTES:
            raise ResourceExhausted(
                Reason.MESSAGE_TOO_LARGE,
                f"the answer has {len(data)} bytes; {MESSAGE_LIMIT_BYTES} are the limit of one message",
                metadata={"limit_bytes": str(MESSAGE_LIMIT_BYTES)},
            )
        return data

    return serialize


def _behaviour(handler: MethodHandler) -> Callable[..., Any]:
    chosen: Callable[..., Any] | None = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if chosen is None:
        raise TypeError("a method handler without a function")
    return chosen


def _make(rpc: Rpc, run: Handler, deserialize: Callable[[bytes], Any] | None) -> MethodHandler:
    makers: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    made: MethodHandler = makers[rpc.client_streaming, rpc.server_streaming](
        run, request_deserializer=deserialize, response_serializer=None
    )
    return made


def _malformed(rpc: Rpc) -> InvalidArgument:
    return InvalidArgument(
        Reason.REQUEST_MALFORMED,
        f"the request's bytes are not a request of {rpc.full_name}",
        metadata={"rpc": rpc.full_name},
    )


def _unserved(path: str) -> Unimplemented:
    return Unimplemented(
        Reason.RPC_NOT_SERVED, f"nobody serves {path} at this address", metadata={"rpc": path}
    )
