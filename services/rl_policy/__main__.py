"""`python -m services.rl_policy`: the policies as a process, with a learner process for each training."""

from __future__ import annotations

import asyncio

from trunkline.policy.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server

from services.kit.mesh import entry
from services.kit.server import Server
from services.kit.settings import read
from services.kit.telemetry import Telemetry
from services.rl_policy.learner.process import LearnerProcess
from services.rl_policy.parts import Parts
from services.rl_policy.service import SERVICE, PolicyService
from services.rl_policy.settings import PolicySettings
from services.rl_policy.store.store import Store
from services.rl_policy.trainer import Assignment, Listener, Trainer


async def main() -> None:
    """Serve until told to stop."""
    settings = read(PolicySettings)
    url = settings.database
    with Telemetry.start(entry("rl_policy").name, settings.telemetry) as telemetry, Store(url) as store:

        def learner(assignment: Assignment, listener: Listener) -> Trainer:
            return LearnerProcess(assignment, url, listener)

        questions, trains = settings.policy_max_questions, settings.policy_trains
        parts = Parts.of(store, learner, settings.limits, questions, tracer=telemetry.tracer, trains=trains)
        async with Server(settings.listen, telemetry, grace=settings.drain_s) as server:
            service = PolicyService(parts)
            server.add(SERVICE, add_PolicyServiceServicer_to_server, service, serving=False)
            server.on_stop(parts.close)
            await server.start()
            await parts.registry.resume()
            async with parts.registry.following(settings.policy_follow_s):
                server.set_serving(SERVICE.full_name, serving=True)
                await server.run()


if __name__ == "__main__":
    asyncio.run(main())
