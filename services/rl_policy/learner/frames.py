"""What service and learner say to each other over a pipe: a length, then a safetensors file.

Its header says what kind of message it is; arrays keep their types, and nothing of it is executed.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.rl_policy.algorithms.algorithm import Array

LENGTH = struct.Struct("<Q")
LONGEST = 1 << 32
"""Bytes of one frame: more is not ours."""
_READ = 1 << 20


class FrameError(Exception):
    """The other end does not speak as `encode` does."""


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: str
    call: int = 0
    """Which call this belongs to, from 1; 0: none."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can say."""
    arrays: Mapping[str, Array] = field(default_factory=dict)


def encode(frame: Frame) -> bytes:
    """Return the frame with its length before it."""
    header = json.dumps({"kind": frame.kind, "call": frame.call, "values": frame.values})
    arrays = {name: np.ascontiguousarray(array) for name, array in frame.arrays.items()}
    body = save(arrays, metadata={"frame": header})
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Frame:
    """Return the frame; raises FrameError."""
    try:
        size = int.from_bytes(body[:8], "little")
        header = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["frame"])
        return Frame(header["kind"], header["call"], header["values"], load(body))
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise FrameError(f"a frame cannot be read: {error}") from error


class Pipe:
    """The learner's end: it blocks, or looks whether there is something."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def send(self, frame: Frame) -> None:
        """Send a frame; raises OSError where the other end has gone."""
        self._connection.sendall(encode(frame))

    def receive(self, patience_s: float | None) -> Frame | None:
        """Return the next frame, or None after `patience_s` seconds (None: wait for ever).

        Raises EOFError when the other end has gone, FrameError.
        """
        while (frame := self._next()) is None:
            if not select.select([self._connection], [], [], patience_s)[0]:
                return None
            data = self._connection.recv(_READ)
            if not data:
                raise EOFError
            self._buffer += data
        return frame

    def _next(self) -> Frame | None:
        if len(self._buffer) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._buffer)
        if length > LONGEST:
            raise FrameError(f"a frame of {length} bytes")
        end = LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[LENGTH.size : end])
        del self._buffer[:end]
        return decode(body)
