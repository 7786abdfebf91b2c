"""A service with an rpc of each kind, told by its requests what to do, and a telemetry that can be read."""

# ruff: noqa: N802 - rpcs are named as in a proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.kit.channel import Channels, deadline_left
from services.kit.errors import InvalidArgument, NotFound, Reason, ResourceExhausted, Violation
from services.kit.server import Server
from services.kit.telemetry import Telemetry, resource

SERVICE = "probe.v1.ProbeService"
KINDS = ("Unary", "ServerStream", "ClientStream", "Both")


class Probe:
    """Does what a request says: `missing`, `hang`, `count 3`, …; any other word is echoed."""

    def __init__(self, upstream: Stub | None = None) -> None:
        self.hanging = asyncio.Event()
        self.left = asyncio.Event()
        self.open = 0
        self.upstream = upstream

    async def Unary(self, request: StringValue, context: Any) -> Any:
        with self._inside():
            return await self._answer(request.value, context)

    async def ServerStream(self, request: StringValue, context: Any) -> AsyncIterator[Any]:
        with self._inside():
            async for message in self._answers(request.value, context):
                yield message

    async def ClientStream(self, requests: AsyncIterator[StringValue], context: Any) -> Any:
        with self._inside():
            words = [await self._answer(request.value, context) async for request in requests]
            return StringValue(value=" ".join(word.value for word in words))

    async def Both(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[Any]:
        with self._inside():
            async for request in requests:
                async for message in self._answers(request.value, context):
                    yield message

    async def WatchNothing(self, request: StringValue, context: Any) -> AsyncIterator[Any]:
        with self._inside():
            yield StringValue(value=str(deadline_left()))
            await asyncio.Event().wait()

    async def Written(self, request: StringValue, context: Any) -> None:
        assert context.time_remaining() is not None
        for word in request.value.split():
            await context.write(await self._answer(word, context))

    def _inside(self) -> _Inside:
        return _Inside(self)

    async def _answers(self, word: str, context: Any) -> AsyncIterator[Any]:
        if word.startswith("count "):
            for number in range(int(word.removeprefix("count "))):
                yield StringValue(value=str(number))
        elif word == "relay":
            assert self.upstream is not None
            async for message in self.upstream.ServerStream(StringValue(value="count 1000000")):
                yield message
        else:
            yield await self._answer(word, context)

    async def _answer(self, word: str, context: Any) -> Any:  # noqa: C901, PLR0912 - a case a word
        match word:
            case "missing":
                raise NotFound(Reason.MODEL_NOT_FOUND, "no model “x” here", metadata={"model": "x"})
            case "invalid":
                violations = [Violation("top_p", "must be at most 1"), Violation("seed", "must be set")]
                raise InvalidArgument(Reason.FIELD_INVALID, "two fields are wrong", violations=violations)
            case "full":
                raise ResourceExhausted(Reason.QUEUE_FULL, "the queue is full", retry_after=0.25)
            case "crash":
                raise ValueError("a secret")
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._answer("missing", context))
                    group.create_task(self._answer("hang", context))
            case "mixed group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._answer("crash", context))
                    group.create_task(self._answer("missing", context))
            case "late":
                raise TimeoutError("a secret")
            case "hang":
                self.hanging.set()
                await asyncio.Event().wait()
            case "wrong":
                return "not a message"
            case "huge":
                return StringValue(value="x" * 10_000)
            case "trailer":
                context.set_trailing_metadata((("x-kept", "yes"),))
                raise NotFound(Reason.MODEL_NOT_FOUND, "no")
            case "pass on":
                assert self.upstream is not None
                return await self.upstream.Unary(StringValue(value="missing"))
            case "left upstream":
                assert self.upstream is not None
                return await self.upstream.Unary(StringValue(value="left"))
            case "left":
                return StringValue(value=str(deadline_left()))
        return StringValue(value=word)


@dataclass
class _Inside:
    probe: Probe

    def __enter__(self) -> None:
        self.probe.open += 1

    def __exit__(self, *_: object) -> None:
        self.probe.open -= 1
        self.probe.left.set()


def add_probe_to_server(probe: Any, server: Any) -> None:
    """Register a probe, as generated code would."""
    codec: dict[str, Any] = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(probe.Unary, **codec),
        "ServerStream": grpc.unary_stream_rpc_method_handler(probe.ServerStream, **codec),
        "ClientStream": grpc.stream_unary_rpc_method_handler(probe.ClientStream, **codec),
        "Both": grpc.stream_stream_rpc_method_handler(probe.Both, **codec),
        "Written": grpc.unary_stream_rpc_method_handler(probe.Written, **codec),
        "WatchNothing": grpc.unary_stream_rpc_method_handler(probe.WatchNothing, **codec),
    }
    server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    """The client's side, as generated code would make it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        codec: dict[str, Any] = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
        }
        self.Unary: Any = channel.unary_unary(f"/{SERVICE}/Unary", **codec)
        self.ServerStream: Any = channel.unary_stream(f"/{SERVICE}/ServerStream", **codec)
        self.ClientStream: Any = channel.stream_unary(f"/{SERVICE}/ClientStream", **codec)
        self.Both: Any = channel.stream_stream(f"/{SERVICE}/Both", **codec)
        self.Written: Any = channel.unary_stream(f"/{SERVICE}/Written", **codec)
        self.WatchNothing: Any = channel.unary_stream(f"/{SERVICE}/WatchNothing", **codec)


@dataclass
class Recorder:
    """Telemetry that keeps what it is given."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry.of(
            resource("probe"), processor=SimpleSpanProcessor(self.exporter), reader=self.reader
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, first to last."""
        return list(self.exporter.get_finished_spans())

    async def ended(self, count: int) -> list[ReadableSpan]:
        """Return the spans once `count` of them have ended."""
        async with asyncio.timeout(60):
            while len(self.spans) < count:  # noqa: ASYNC110 - a span's end is no event
                await asyncio.sleep(0.01)
        return self.spans


@dataclass
class House:
    """A running server, and what a test needs of it."""

    server: Server
    port: int
    channels: Channels
    probe: Probe
    stub: Stub
    recorder: Recorder

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the server."""
        return self.channels.to(f"127.0.0.1:{self.port}")


@asynccontextmanager
async def house(
    upstream: Stub | None = None, *, grace: float = 1.0, lame_duck: float = 0.0
) -> AsyncIterator[House]:
    """Run a probe on a port of its own."""
    recorder, probe = Recorder(), Probe(upstream)
    server = Server("127.0.0.1:0", recorder.telemetry, grace=grace, lame_duck=lame_duck)
    server.add(SERVICE, add_probe_to_server, probe)
    port = await server.start()
    async with server, Channels(recorder.telemetry) as channels:
        stub = Stub(channels.to(f"127.0.0.1:{port}"))
        yield House(server, port, channels, probe, stub, recorder)
    recorder.telemetry.close()


def call(stub: Stub, kind: str, word: str, **options: Any) -> Any:
    """Begin a call of `kind` that says `word`."""
    request = StringValue(value=word)

    async def requests() -> AsyncIterator[StringValue]:
        yield request

    streams = kind in {"ClientStream", "Both"}
    return getattr(stub, kind)(requests() if streams else request, **options)


async def overdue(one: House, kind: str) -> grpc.aio.AioRpcError:
    """Call until a call reached its handler and its deadline passed there; return how the caller saw it end.

    On a slow machine a call may be past its deadline before it has reached the server: deadlines double.
    """
    seconds = 0.1
    while True:
        try:
            await outcome(call(one.stub, kind, "hang", timeout=seconds))
        except grpc.aio.AioRpcError as error:
            if one.probe.hanging.is_set():
                return error
            seconds *= 2


async def outcome(started: Any) -> list[str]:
    """Return what the call answered: one value, or those of the stream."""
    if hasattr(started, "__aiter__"):
        return [message.value async for message in started]
    return [(await started).value]
