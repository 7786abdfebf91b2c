"""Choices that learn: one interface for whoever may choose, and a policy of the mesh behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
from trunkline.policy.v1 import policies_pb2, rewards_pb2, values_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What was chosen: the index of an option, and what a reward is joined by."""

    option: int
    decision_id: int
    propensity: float


class Bandit(Protocol):
    """Chooses among options, and learns from what came of it."""

    async def choose(self, context: Sequence[float], allowed: Sequence[bool]) -> Choice | None:
        """Return the index of an allowed option; None: choose as without a bandit."""

    def reward(self, choice: Choice, value: float) -> None:
        """Say what a choice was worth; nobody waits for it."""


class PolicyBandit:
    """A contextual bandit of the policy service, whose observations are a box as wide as the contexts.

    It never stands in the way: where the service does not answer in time, or the policy does not fit, the
    caller chooses as without it. Its rewards are lost with the service.
    """

    def __init__(self, channel: grpc.aio.Channel, policy: str, limit_s: float) -> None:
        self._stub = PolicyServiceStub(channel)
        self._policy = policy
        self._limit_s = limit_s
        self._options: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def choose(self, context: Sequence[float], allowed: Sequence[bool]) -> Choice | None:
        """Ask the policy; None where it does not say."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._decide(context, allowed)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            _LOGGER.debug("policy %s does not choose: %s", self._policy, error)
            return None

    def reward(self, choice: Choice, value: float) -> None:
        """Send the reward in the background."""
        task = asyncio.create_task(self._send(choice, value))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Return when every reward is sent, or is lost."""
        await asyncio.gather(*self._tasks)

    async def _decide(self, context: Sequence[float], allowed: Sequence[bool]) -> Choice | None:
        if self._options is None:
            answer = await self._stub.GetPolicy(policies_pb2.GetPolicyRequest(name=self._policy))
            self._options = answer.policy.environment.action_space.discrete.n
        if len(allowed) > self._options:
            return None
        mask = [*allowed, *[False] * (self._options - len(allowed))]
        numbers = values_pb2.Value(numbers=values_pb2.Numbers(values=context))
        request = rewards_pb2.DecideRequest(policy=self._policy, context=numbers, action_mask=mask)
        decided = await self._stub.Decide(request)
        return Choice(decided.action, decided.decision_id, decided.propensity)

    async def _send(self, choice: Choice, value: float) -> None:
        reward = rewards_pb2.Reward(decision_id=choice.decision_id, value=value)
        request = rewards_pb2.SendRewardsRequest(policy=self._policy, rewards=[reward])
        try:
            await self._stub.SendRewards(request)
        except grpc.aio.AioRpcError as error:
            _LOGGER.debug("policy %s does not take a reward: %s", self._policy, error)
