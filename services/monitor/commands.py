"""`trunkline status` and `trunkline trace`: what the monitor knows, on a terminal or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from services.kit.command import Command, CommandError, operator_channel, public_channel

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from trunkline.monitor.v1 import monitor_pb2 as pb
    from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

UNARY_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
DOWN = (
    "The monitor does not answer; the mesh serves on without it. `trunkline up` starts it again within "
    "seconds: ask again, and read its log if it stays away."
)


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="print one picture and end, as into a pipe or file"
    )
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="SECONDS", help="how often, 0.1 to 60 (default: 1)"
    )


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"must be from 0.1 to 60 seconds, not {text}")
    return seconds


def _status(arguments: argparse.Namespace) -> int:
    from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

    from services.monitor.terminal import console

    screen = console()
    with public_channel() as channel:
        stub = MonitorServiceStub(channel)
        if arguments.json or arguments.once or not screen.is_terminal:
            _print_picture(stub, screen, as_json=arguments.json)
        else:
            _watch(stub, screen, arguments.interval)
    return 0


def _print_picture(stub: MonitorServiceStub, screen: Console, *, as_json: bool) -> None:
    from trunkline.monitor.v1.monitor_pb2 import GetMeshRequest

    from services.monitor.status_view import status

    with _monitor_down():
        mesh = stub.GetMesh(GetMeshRequest(), timeout=UNARY_SECONDS).mesh
    if as_json:
        _print_json(mesh)
    else:
        screen.print(status(mesh))


def _watch(stub: MonitorServiceStub, screen: Console, interval: float) -> None:
    """Show each picture in place of the last until Ctrl-C; a monitor that goes is awaited."""
    import time

    from rich.live import Live

    from services.monitor.status_view import status

    with Live(console=screen, auto_refresh=False) as live:
        last: pb.Mesh | None = None
        while True:
            try:
                for last in _pictures(stub, interval):
                    live.update(status(last), refresh=True)
            except CommandError:
                if last is None:
                    raise
            if last is not None:
                live.update(status(last, "the monitor has gone; waiting for it"), refresh=True)
            time.sleep(RECONNECT_SECONDS)


def _pictures(stub: MonitorServiceStub, interval: float) -> Iterator[pb.Mesh]:
    from trunkline.monitor.v1.monitor_pb2 import WatchMeshRequest

    request = WatchMeshRequest()
    request.interval.FromNanoseconds(int(interval * 1e9))
    call = stub.WatchMesh(request)
    try:
        with _monitor_down():
            for response in call:
                yield response.mesh
    finally:
        call.cancel()


def _trace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id",
        nargs="?",
        default="",
        metavar="ID",
        help="a trace, 32 hex digits (default: the newest inference)",
    )
    parser.add_argument("--list", action="store_true", help="list the newest traces instead")
    parser.add_argument(
        "--count", type=int, default=20, metavar="N", help="--list: how many, 1 to 1,000 (default: 20)"
    )


def _trace(arguments: argparse.Namespace) -> int:
    from trunkline.monitor.v1.monitor_pb2_grpc import MonitorServiceStub

    with operator_channel() as channel, _monitor_down():
        stub = MonitorServiceStub(channel)
        if arguments.list:
            _print_list(stub, arguments.count, as_json=arguments.json)
        else:
            _print_trace(stub, arguments.id, as_json=arguments.json)
    return 0


def _print_list(stub: MonitorServiceStub, count: int, *, as_json: bool) -> None:
    from trunkline.monitor.v1.monitor_pb2 import ListTracesRequest

    from services.monitor.terminal import console
    from services.monitor.trace_view import summaries

    found = stub.ListTraces(ListTracesRequest(page_size=count), timeout=UNARY_SECONDS)
    if as_json:
        _print_json(found)
    elif found.traces:
        console().print(summaries(found.traces))
    else:
        print("No trace is here yet; when traces go to Jaeger, none ever is.")


def _print_trace(stub: MonitorServiceStub, trace_id: str, *, as_json: bool) -> None:
    from trunkline.monitor.v1.monitor_pb2 import GetTraceRequest

    from services.monitor.terminal import console
    from services.monitor.trace_view import trace

    found = stub.GetTrace(GetTraceRequest(trace_id=trace_id), timeout=UNARY_SECONDS)
    if as_json:
        _print_json(found)
    else:
        console().print(trace(found))


def _print_json(message: Message) -> None:
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    print(json.dumps(found, ensure_ascii=False))


@contextmanager
def _monitor_down() -> Iterator[None]:
    """Say what to do when the monitor cannot be reached; other failures have a sentence of their own."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            raise CommandError(DOWN) from error
        raise


STATUS = Command("status", "show what the mesh is doing, live", _status_arguments, _status)
TRACE = Command("trace", "show a call's way through the mesh as a tree", _trace_arguments, _trace)
