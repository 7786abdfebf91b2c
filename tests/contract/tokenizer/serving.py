"""The tokenizer on a port of its own, with the real store, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from trunkline.tokenizer.v1.tokenizer_pb2 import Encoding
from trunkline.tokenizer.v1.tokenizer_pb2_grpc import (
    TokenizerServiceStub,
    add_TokenizerServiceServicer_to_server,
)

from services.kit.errors import TrunklineError
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from services.store.catalogue_file import CatalogueFile
from services.store.store import Store
from services.tokenizer.batcher import QueueLimits
from services.tokenizer.library import Library
from services.tokenizer.loader import Loader
from services.tokenizer.service import SERVICE, TokenizerService
from tests.real_models import store

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@dataclass(frozen=True)
class Serving:
    """A running tokenizer."""

    stub: TokenizerServiceStub
    channel: grpc.aio.Channel
    library: Library


@asynccontextmanager
async def serving(
    *,
    catalogue: Path | None = None,
    cache: Store | None = None,
    limits: QueueLimits | None = None,
    preload: Iterable[str] = (),
) -> AsyncIterator[Serving]:
    """Serve a catalogue from a cache (default: the shared one) on any port."""
    telemetry, limits = Telemetry.disabled(), limits or QueueLimits()
    with ThreadPoolExecutor(4) as executor:
        loader = Loader(cache or store(), limits, executor, telemetry.tracer)
        library = Library(CatalogueFile(catalogue).current, loader)
        async with Server("127.0.0.1:0", telemetry, grace=0.0) as server:
            server.add(SERVICE, add_TokenizerServiceServicer_to_server, TokenizerService(library))
            server.on_stop(library.close)
            port = await server.start()
            await library.preload(preload)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
                yield Serving(TokenizerServiceStub(channel), channel, library)


async def refusal(call: Awaitable[object]) -> TrunklineError:
    """Return the error that a call fails with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError(f"the call was answered: {answer!r}"[:500])


def offsets(encoding: Encoding) -> list[tuple[int, int]]:
    """Return an encoding's offsets as pairs."""
    return [(each.start, each.end) for each in encoding.offsets]
