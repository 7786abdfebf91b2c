"""The engine's end of the pipe to the worker. The pipe's end is the engine's end."""

from __future__ import annotations

import os
import select
import socket

from services.inference_worker.wire import LENGTH, Command, Event, decode_command, encode

_CHUNK_BYTES = 1 << 18


class LinkClosed(Exception):  # noqa: N818 - no error: the worker has gone
    """The worker has closed the pipe or died."""


class Link:
    """Frames over a connected stream socket. `wake` may be called from any thread, the rest from one."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self._connection = connection
        self._buffer = bytearray()
        self._woken, self._wake = os.pipe()

    def receive(self, *, block: bool) -> list[Command]:
        """Return the commands that are there; with `block`, wait for one or for `wake`. Raises LinkClosed."""
        pipe = self._connection.fileno()
        readable, _, _ = select.select([pipe, self._woken], [], [], None if block else 0)
        if self._woken in readable:
            os.read(self._woken, 64)
        if pipe in readable:
            self._read()
        return self._frames()

    def send(self, event: Event) -> None:
        """Send one event; waits while the worker does not read. Raises LinkClosed."""
        try:
            self._connection.sendall(encode(event))
        except OSError as error:
            raise LinkClosed from error

    def wake(self) -> None:
        """End a blocking `receive`."""
        os.write(self._wake, b"!")

    def _read(self) -> None:
        try:
            chunk = self._connection.recv(_CHUNK_BYTES)
        except OSError as error:
            raise LinkClosed from error
        if not chunk:
            raise LinkClosed
        self._buffer += chunk

    def _frames(self) -> list[Command]:
        commands, at = [], 0
        while len(self._buffer) >= at + LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer, at)
            end = at + LENGTH.size + length
            if len(self._buffer) < end:
                break
            commands.append(decode_command(bytes(self._buffer[at + LENGTH.size : end])))
            at = end
        del self._buffer[:at]
        return commands
