"""The policies' service on a port of its own, with a real store and real learners, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from trunkline.policy.v1 import algorithms_pb2, episodes_pb2, policies_pb2, spaces_pb2, values_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import (
    PolicyServiceStub,
    add_PolicyServiceServicer_to_server,
)

from services.kit.errors import TrunklineError
from services.kit.server import Server
from services.kit.status import from_rpc_error
from services.kit.telemetry import Telemetry
from services.rl_policy.learner.process import LearnerProcess
from services.rl_policy.parts import Parts
from services.rl_policy.runs import RunLimits
from services.rl_policy.service import SERVICE, PolicyService
from services.rl_policy.store.store import Store

POLICY = "corridor"
LENGTH = 6


@dataclass(frozen=True)
class Serving:
    """A running service."""

    stub: Any
    """A PolicyServiceStub: its calls are awaited."""
    address: str
    parts: Parts


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    episodes: int = 1_000,
    idle_s: float = 3_600.0,
    trains: bool = True,
    follow_s: float = 0.0,
) -> AsyncIterator[Serving]:
    """Serve policies that are kept in `folder`, on any port."""
    url = f"sqlite:///{folder}/policies.db"
    telemetry = Telemetry.disabled()
    with Store(url) as store:
        parts = Parts.of(
            store,
            lambda assignment, listener: LearnerProcess(assignment, url, listener),
            RunLimits(episodes, idle_s),
            4_096,
            tracer=telemetry.tracer,
            trains=trains,
        )
        async with Server("127.0.0.1:0", telemetry, grace=0.0) as server:
            server.add(SERVICE, add_PolicyServiceServicer_to_server, PolicyService(parts))
            server.on_stop(parts.close)
            port = await server.start()
            await parts.registry.resume()
            address = f"127.0.0.1:{port}"
            async with (
                parts.registry.following(follow_s),
                grpc.aio.insecure_channel(address) as channel,
            ):
                yield Serving(PolicyServiceStub(channel), address, parts)


async def refused(call: Any) -> TrunklineError:
    """Return the error with which a call fails."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("the call did not fail")


def corridor(
    name: str = POLICY, *, seed: int = 7, max_steps: int | None = None, **parameters: Any
) -> policies_pb2.CreatePolicyRequest:
    """Return a policy for a corridor of LENGTH places, where one steps left (0) or right (1)."""
    space = spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=LENGTH))
    actions = spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=2))
    return policies_pb2.CreatePolicyRequest(
        name=name,
        environment=spaces_pb2.Environment(
            name="corridor", observation_space=space, action_space=actions, max_steps=max_steps
        ),
        algorithm=algorithms_pb2.Algorithm(q_learning=algorithms_pb2.TabularParameters(**parameters)),
        seed=seed,
    )


def place(number: int) -> values_pb2.Value:
    """Return an observation."""
    return values_pb2.Value(integer=number)


async def begun(stub: Any, policy: str = POLICY, **how: Any) -> int:
    """Return the id of a new episode."""
    answer = await stub.StartEpisode(episodes_pb2.StartEpisodeRequest(policy=policy, **how))
    return int(answer.episode_id)


async def acted(stub: Any, episode: int, step: int, at: int | None = 0, **how: Any) -> Any:
    """Return what to do at a step."""
    observation = None if at is None else place(at)
    request = episodes_pb2.ActRequest(episode_id=episode, step=step, observation=observation, **how)
    return await stub.Act(request)


async def observed(stub: Any, episode: int, step: int, now: int, **outcome: Any) -> Any:
    """Say what came of a step."""
    request = episodes_pb2.ObserveRequest(
        episode_id=episode, step=step, next_observation=place(now), **outcome
    )
    return await stub.Observe(request)


async def live_episode(stub: Any, worth: Callable[[int], float], policy: str = POLICY) -> int:
    """Play a live episode of one step that earns what its action is worth; return the version that acted."""
    episode = await begun(stub, policy, stage=episodes_pb2.EPISODE_STAGE_LIVE)
    act = await acted(stub, episode, 0)
    await observed(stub, episode, 0, 1, reward=worth(act.action.integer), terminated=True)
    return int(act.policy_version)


def places(numbers: Sequence[int]) -> values_pb2.Tensor:
    """Return observations of several environments."""
    data = b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    return values_pb2.Tensor(data_type=values_pb2.DATA_TYPE_INT64, shape=[len(numbers)], data=data)
