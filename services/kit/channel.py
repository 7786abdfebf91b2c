"""Channels: what a process dials. One a target, each call with a deadline, a span and the caller's trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

import grpc
from opentelemetry.trace import SpanKind

from services.kit import semconv
from services.kit.deadline import current_scope, deadline_left, timeout_for
from services.kit.rpc import Rpc, parse
from services.kit.telemetry import Telemetry
from services.kit.tracing import CallTelemetry, inject
from services.kit.transport import client_options

__all__ = ["Channels", "MeasuredChannel", "deadline_left"]


class Channels:
    """Owns the channels of a process. `async with`, or `close` at the end."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._duration = telemetry.meter.create_histogram(
            semconv.RPC_CLIENT_CALL_DURATION, unit="s", description="Duration of calls made"
        )
        self._channels: dict[str, MeasuredChannel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        """Return the channel to `address` (`host:port`, `dns:///name:port`, `unix:path`)."""
        channel = self._channels.get(address)
        if channel is None:
            plain = grpc.aio.insecure_channel(address, options=client_options())
            channel = MeasuredChannel(plain, address, self._telemetry, self._duration)
            self._channels[address] = channel
        return channel

    def record(self, rpc: Rpc, address: str) -> CallTelemetry:
        """Return what is recorded of requests to `address` that travel inside a stream."""
        return CallTelemetry(rpc, SpanKind.CLIENT, self._telemetry, self._duration, address)

    async def forget(self, address: str) -> None:
        """Close the channel to `address`, if there is one: its peer has left the mesh."""
        channel = self._channels.pop(address, None)
        if channel is not None:
            await channel.close()

    async def close(self) -> None:
        """Close every channel; calls in flight are cancelled. Idempotent."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class MeasuredChannel(grpc.aio.Channel):
    """A channel whose calls have deadlines and spans.

    It wraps the multicallables, not the calls: what a stub returns is grpc's own call object, and so are
    cancellation, streaming and metadata. (grpc.aio's interceptors put a task between the two.)
    """

    def __init__(self, channel: grpc.aio.Channel, address: str, telemetry: Telemetry, duration: Any) -> None:
        self._channel = channel
        self._address = address
        self._telemetry = telemetry
        self._duration = duration

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the multicallable of an rpc."""
        return self._measured(self._channel.unary_unary, method, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the multicallable of a server stream."""
        return self._measured(self._channel.unary_stream, method, args, kwargs, server_streaming=True)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the multicallable of a client stream."""
        return self._measured(self._channel.stream_unary, method, args, kwargs, client_streaming=True)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the multicallable of a stream in both directions."""
        return self._measured(
            self._channel.stream_stream, method, args, kwargs, client_streaming=True, server_streaming=True
        )

    def _measured(
        self,
        make: Callable[..., Any],
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        client_streaming: bool = False,
        server_streaming: bool = False,
    ) -> _Measured:
        rpc = parse(method, client_streaming=client_streaming, server_streaming=server_streaming)
        record = None
        if not rpc.is_infrastructure:
            record = CallTelemetry(rpc, SpanKind.CLIENT, self._telemetry, self._duration, self._address)
        multicallable = make(method, *args, **kwargs)
        return _Measured(multicallable, timeout_for(rpc), record, adopt=client_streaming or server_streaming)

    async def close(self, grace: float | None = None) -> None:
        """Close; calls in flight are cancelled after `grace` seconds."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - grpc's
        """Return the state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is no longer `last_observed_state`."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Measured:
    """A multicallable."""

    def __init__(
        self,
        multicallable: Callable[..., Any],
        choose_timeout: Callable[[float | None], float | None],
        record: CallTelemetry | None,
        *,
        adopt: bool,
    ) -> None:
        self._multicallable = multicallable
        self._choose_timeout = choose_timeout
        self._record = record
        self._adopt = adopt

    def __call__(self, *args: Any, timeout: float | None = None, metadata: Any = None, **kwargs: Any) -> Any:
        timeout = self._choose_timeout(timeout)
        if self._record is None:
            call = self._multicallable(*args, timeout=timeout, metadata=metadata, **kwargs)
        else:
            call = self._observed(self._record, args, timeout, metadata, kwargs)
        scope = current_scope()
        if self._adopt and scope is not None:
            scope.adopt(call)
        return call

    def _observed(
        self,
        record: CallTelemetry,
        args: tuple[Any, ...],
        timeout: float | None,
        metadata: Any,
        kwargs: dict[str, Any],
    ) -> Any:
        started = perf_counter()
        span = record.start()
        try:
            call = self._multicallable(
                *args, timeout=timeout, metadata=(*(metadata or ()), *inject(span)), **kwargs
            )
        except BaseException:
            record.finish(span, "UNKNOWN", perf_counter() - started)
            raise
        call.add_done_callback(lambda done: record.finish(span, _code(done), perf_counter() - started))
        return call


def _code(call: Any) -> str:
    """Return the name of the status of a call that is done: its coroutine has nothing left to wait for."""
    coroutine = call.code()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return str(stop.value.name)
    coroutine.close()
    return "UNKNOWN"
