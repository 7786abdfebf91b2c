"""`python -m services.tokenizer`: the tokenizer as a process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from trunkline.tokenizer.v1.tokenizer_pb2_grpc import add_TokenizerServiceServicer_to_server

from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry
from services.store.catalogue_file import CatalogueFile
from services.store.store import Store
from services.tokenizer.library import Library
from services.tokenizer.loader import Loader
from services.tokenizer.service import SERVICE, TokenizerService
from services.tokenizer.settings import TokenizerSettings


async def main() -> None:
    """Serve until told to stop."""
    settings = read(TokenizerSettings)
    catalogue = CatalogueFile(settings.store.catalogue)
    with (
        Telemetry.start(entry("tokenizer").name, settings.telemetry) as telemetry,
        ThreadPoolExecutor(settings.tokenizer_threads, thread_name_prefix="tokenizer") as executor,
    ):
        loader = Loader(Store(settings.store.cache), settings.limits, executor, telemetry.tracer)
        library = Library(catalogue.current, loader, waiting_limit=settings.tokenizer_max_queue)
        library.check(settings.store.models)

        async with Server(settings.listen, telemetry, grace=settings.drain_s) as server:
            service = TokenizerService(library)
            server.add(SERVICE, add_TokenizerServiceServicer_to_server, service, serving=False)
            server.on_stop(library.close)
            await server.start()
            await library.preload(settings.store.models)
            server.set_serving(SERVICE.full_name, serving=True)
            await server.run()


if __name__ == "__main__":
    asyncio.run(main())
