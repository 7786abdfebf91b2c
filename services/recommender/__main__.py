"""`python -m services.recommender`: the recommender as a process."""

from __future__ import annotations

import asyncio

from trunkline.recommender.v1.recommender_pb2_grpc import add_RecommenderServiceServicer_to_server

from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry
from services.recommender.opening import opened
from services.recommender.service.service import SERVICE, RecommenderService
from services.recommender.settings import RecommenderSettings


async def main() -> None:
    """Serve until told to stop."""
    settings = read(RecommenderSettings)
    with Telemetry.start(entry("recommender").name, settings.telemetry) as telemetry:
        async with (
            opened(settings) as domain,
            Server(settings.listen, telemetry, grace=settings.drain_s) as server,
        ):
            server.add(SERVICE, add_RecommenderServiceServicer_to_server, RecommenderService(domain))
            await server.run()


if __name__ == "__main__":
    asyncio.run(main())
