"""What the rpcs call, and what all of them share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceServicer

from services.recommender.entities import Preference
from services.recommender.service.requests import Requests
from services.recommender.serving.serving import Serving
from services.recommender.store.store import RecommenderStore

T = TypeVar("T")
_LARGE = 1 << 15
"""Bytes of a request from which on it is read on a thread: milliseconds of work."""


@dataclass(frozen=True)
class Domain:
    """The store and what serves from it; `clock` gives Unix seconds."""

    store: RecommenderStore
    serving: Serving
    preferences: Mapping[str, Preference]
    scenarios: tuple[str, ...]
    """Their names, ordered."""
    clock: Callable[[], float] = time.time
    requests: Requests = field(default_factory=Requests)
    started: float = field(default_factory=time.time)


class Sized(Protocol):
    """A message."""

    def ByteSize(self) -> int: ...  # noqa: D102, N802 - as protobuf has it


class Rpcs(RecommenderServiceServicer):
    """The rpcs of one idea; `service.RecommenderService` puts them together."""

    def __init__(self, domain: Domain) -> None:
        self._store = domain.store
        self._serving = domain.serving
        self._clock = domain.clock
        self._domain = domain


async def off_loop(message: Sized, read: Callable[[], T]) -> T:
    """Return what `read` makes of a message, on a thread where it is large."""
    return read() if message.ByteSize() < _LARGE else await asyncio.to_thread(read)
