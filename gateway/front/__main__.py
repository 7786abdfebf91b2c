"""`python -m gateway.front`: a front as a process."""

from __future__ import annotations

import asyncio

from gateway.front.front import Front
from gateway.front.settings import FrontSettings
from services.kit.channel import Channels
from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry


async def main() -> None:
    """Serve until told to stop."""
    settings = read(FrontSettings)
    telemetry = Telemetry.start(entry("front").name, settings.telemetry)
    # Watches are not observed: one whose peer is away fails once a second.
    channels, watches = Channels(telemetry), Channels(Telemetry.disabled())
    with telemetry:
        async with channels, watches, Front(settings, telemetry, channels, watches) as front:
            server = Server(settings.listen, telemetry, grace=settings.grace)
            front.register(server)
            await server.run()


if __name__ == "__main__":
    asyncio.run(main())
