"""`python -m services.inference_worker`: a worker with one engine process a device."""

from __future__ import annotations

import asyncio
from functools import partial

from trunkline.worker.v1.worker_pb2_grpc import add_WorkerServiceServicer_to_server

from services.inference_worker.devices import HostInventory
from services.inference_worker.service import WorkerService
from services.inference_worker.settings import WorkerSettings
from services.inference_worker.worker import Worker
from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry

NAME = "inference_worker"
(SERVICE,) = entry(NAME).services


async def main() -> None:
    """Serve until a signal."""
    settings = read(WorkerSettings)
    with Telemetry.start(NAME, settings.telemetry) as telemetry:
        server = Server(settings.listen, telemetry, grace=settings.drain_s)
        said = partial(server.set_serving, SERVICE)
        async with Worker(settings, telemetry, HostInventory(), server.draining, said) as worker:
            service = WorkerService(
                worker.inference, worker.models, worker.status, telemetry, server.draining
            )
            server.add(SERVICE, add_WorkerServiceServicer_to_server, service, serving=False)
            await server.run()


if __name__ == "__main__":
    asyncio.run(main())
