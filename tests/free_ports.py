"""Ports that nobody listens on, for processes that cannot be told port 0."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that were free on loopback a moment ago.

    They lie below the range from which the kernel takes the ports of outgoing connections, so that no
    connection of another test can take one before its owner binds it.
    """
    lowest = int(_local_port_range()[0])
    generator = random.Random(os.urandom(16))
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = generator.randrange(10_000, lowest)
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def _local_port_range() -> list[str]:
    return Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
