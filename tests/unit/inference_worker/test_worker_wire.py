"""Both ends of the pipe read what the other writes, however it is cut up."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from services.inference_worker.engine.link import Link, LinkClosed
from services.inference_worker.wire import (
    LENGTH,
    Cancel,
    Command,
    Generate,
    Load,
    Output,
    Report,
    Sampling,
    UnloadModel,
    decode_command,
    decode_event,
    encode,
)

COMMANDS: list[Command] = [
    Generate(1, "m@1", [1, 2, 2**31], Sampling(max_tokens=3, seed=2**64 - 1), accepted=1.5, deadline=None),
    Cancel(1),
    UnloadModel("m@1"),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_commands_arrive_whole_however_they_are_cut(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    link, received = Link(theirs), []
    stream = b"".join(map(encode, COMMANDS))
    for start in range(0, len(stream), 7):
        ours.sendall(stream[start : start + 7])
        received += link.receive(block=False)
    assert received == COMMANDS


def test_a_waiting_link_is_woken(ends: tuple[socket.socket, socket.socket]):
    link = Link(ends[1])
    link.wake()
    assert link.receive(block=True) == []


def test_the_end_of_the_pipe_is_noticed(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    link = Link(theirs)
    ours.close()
    with pytest.raises(LinkClosed):
        link.receive(block=True)
    with pytest.raises(LinkClosed):
        link.send(Report("m@1", 1, Load()))


def test_a_report_reads_back_as_it_was():
    report = Report("m@1", 7, Load(queued=1), [Output(3, [5], failure="fault"), Output(4)])
    frame = encode(report)
    assert LENGTH.unpack_from(frame) == (len(frame) - LENGTH.size,)
    assert decode_event(frame[LENGTH.size :]) == report


@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode({"type": "Eval", "code": "1"})])
def test_what_is_no_command_is_refused(body: bytes):
    with pytest.raises(msgspec.MsgspecError):
        decode_command(body)
