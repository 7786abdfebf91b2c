"""`python -m services.monitor`: the monitor as a process."""

from __future__ import annotations

import asyncio

from services.kit.channel import Channels
from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry
from services.monitor.monitor import Monitor
from services.monitor.settings import MonitorSettings


async def main() -> None:
    """Serve until told to stop."""
    settings = read(MonitorSettings)
    telemetry = Telemetry.start(entry("monitor").name, settings.telemetry)
    # Not observed: a watch that waits for its peer fails twice a second, and its spans would flush the ring.
    channels = Channels(Telemetry.disabled())
    with telemetry:
        async with channels, Monitor(settings, channels) as monitor:
            server = Server(settings.listen, telemetry)
            monitor.register(server)
            await server.run()


if __name__ == "__main__":
    asyncio.run(main())
