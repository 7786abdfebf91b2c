"""`python -m gateway`: the controller, with Envoy and the fronts as its children."""

from __future__ import annotations

import asyncio
import sys

from trunkline.control.v1.control_pb2_grpc import add_ControlServiceServicer_to_server

from gateway.controller.contract import load_contract
from gateway.controller.gateway import Gateway
from gateway.controller.places import PortTakenError, check_ports, find_places, public_services
from gateway.controller.service import SERVICE, ControlService
from gateway.envoy.process import EnvoyMissingError, find_binary
from gateway.envoy.run_folder import run_folder
from gateway.settings import GatewaySettings
from services.kit.channel import Channels
from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry


async def main() -> int:
    """Serve until told to stop; return the exit status, 2 where the gateway cannot begin."""
    settings = read(GatewaySettings)
    try:
        binary, places = find_binary(settings.envoy), await find_places(settings)
        await check_ports(settings, places)
    except (EnvoyMissingError, PortTakenError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for who started it
        return 2
    telemetry = Telemetry.start(entry("gateway").name, settings.telemetry)
    # Not observed: a watch whose peer is away fails once a second.
    channels = Channels(Telemetry.disabled())
    with telemetry, run_folder() as folder:
        async with channels:
            server = Server(settings.listen, telemetry)
            gateway = Gateway(
                settings,
                places,
                binary=binary,
                folder=folder,
                channels=channels,
                set_serving=server.set_serving,
            )
            control = ControlService(gateway.board, gateway.restarts)
            server.add(SERVICE, add_ControlServiceServicer_to_server, control)
            server.reflect(*load_contract(public_services(places)))
            server.on_stop(gateway.stop)
            async with gateway.running():
                await server.run()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
