"""The addresses that the monitor knows from its settings, and how each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    """How a process is: `trunkline.monitor.v1.Health`, without its prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    UNREACHABLE = "UNREACHABLE"


@dataclass
class Peer:
    """A process at an address. Its watch writes it, the picture reads it."""

    service: str
    address: str
    answer: Health = Health.UNSPECIFIED
    """What its health service says, UNREACHABLE where it says nothing."""
    silent: bool = False
    """True for a worker whose status does not come: one that hangs may still answer for its health."""
    instance: str = ""
    """Which process it says it is; "" while that is not known."""
    status: Any = field(default=None, repr=False)
    """A worker's last status, as it came: nothing in here looks inside."""

    @property
    def health(self) -> Health:
        """How it is, all in all."""
        return Health.UNREACHABLE if self.silent else self.answer


class Roster:
    """The peers, one an address."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(sorted(self._peers.values(), key=lambda peer: (peer.service, peer.address)))

    def add(self, peer: Peer) -> Peer:
        """Enter a peer, in place of another one at its address."""
        self._peers[peer.address] = peer
        return peer

    def remove(self, peer: Peer) -> None:
        """Take a peer out, unless another one has its address by now."""
        if self._peers.get(peer.address) is peer:
            del self._peers[peer.address]

    def of(self, service: str) -> list[Peer]:
        """Return the peers of a service, ordered by address."""
        return [peer for peer in self if peer.service == service]
