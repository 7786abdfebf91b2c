"""What a command of `trunkline` is, and the channels that commands call through.

Commands live with their service and are found by the entry-point group `trunkline.commands`. A module that
defines one is imported to answer `trunkline --help`, so it imports grpc, rich and the generated messages
inside its functions; it may count on the base install alone.
"""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.kit.mesh import OPERATORS_PORT, PUBLIC_PORT
from services.kit.settings import read, setting

if TYPE_CHECKING:
    import grpc

CONNECT_SECONDS = 5.0
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/\[\]]+):(\d+)")


class CommandError(Exception):
    """One sentence that says what is wrong and what to do; the command line prints it and exits with 1."""


@dataclass(frozen=True)
class Command:
    """A command: what `trunkline NAME --help` says, and what `trunkline NAME` does.

    The command line adds `--json` to every command by itself; `run` reads it as `arguments.json` and, when
    it is true, prints nothing but JSON on standard output. `run` returns the exit status. It may raise
    CommandError, TrunklineError or grpc.RpcError, which become one sentence on standard error and the exit
    status 1.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class CommandSettings:
    """Where the mesh is that commands call."""

    address: str = setting(f"127.0.0.1:{PUBLIC_PORT}", "The mesh's public port.")
    operator_address: str = setting(f"127.0.0.1:{OPERATORS_PORT}", "The mesh's port for operators.")


def public_address() -> str:
    """Return where the mesh's public port is: TRUNKLINE_ADDRESS."""
    return read(CommandSettings).address


def public_channel() -> grpc.Channel:
    """Return a channel to the public port; raises CommandError at once when nothing listens there."""
    return connect(public_address(), "TRUNKLINE_ADDRESS")


def operator_channel() -> grpc.Channel:
    """Return a channel to the operators' port; raises CommandError at once when nothing listens there."""
    return connect(read(CommandSettings).operator_address, "TRUNKLINE_OPERATOR_ADDRESS")


def connect(address: str, variable: str) -> grpc.Channel:
    """Return a channel to `address`, set by `variable`; raises CommandError when nothing listens there."""
    if not answers(address):
        raise CommandError(
            f"No mesh answers at {address}. Start one with `make up` or `trunkline up`, "
            f"or set {variable} to where yours is."
        )
    import grpc

    from services.kit.transport import client_options

    return grpc.insecure_channel(address, options=client_options())


def answers(address: str) -> bool:
    """Return whether host:port takes a connection; gRPC's other forms of address are not tried."""
    match = HOST_PORT.fullmatch(address)
    if match is None:
        return True
    try:
        with socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False
