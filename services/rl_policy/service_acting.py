"""The rpcs of acting: decode, one call of the domain, encode."""

# ruff: noqa: N802 - rpcs have the names of their proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import isfinite, isnan
from typing import Any

from trunkline.policy.v1 import episodes_pb2 as pb
from trunkline.policy.v1 import log_pb2, rewards_pb2, rollout_pb2

from services.kit.errors import TrunklineError, invalid
from services.rl_policy import rollout_messages
from services.rl_policy.contexts import context_row
from services.rl_policy.episode_messages import (
    beginning,
    check_number,
    encode_episode,
    encode_record,
    encode_state,
    failure,
    mode_of,
    stage_of,
)
from services.rl_policy.episodes import Decision, Outcome, Sight
from services.rl_policy.parts import Parts
from services.rl_policy.play import Beginning
from services.rl_policy.rollout import Rollout
from services.rl_policy.runs import record_of
from services.rl_policy.served import Served
from services.rl_policy.spaces import Box, Discrete, Floats
from services.rl_policy.store.records import Reward
from services.rl_policy.value_messages import decode_mask, decode_value, encode_value

MAX_BATCH = 4_096
MAX_REWARDS = 10_000
MAX_PART_BYTES = 64


class ActingRpcs:
    """Starts, acts, observes, ends; in single calls, batches and rollouts."""

    _parts: Parts

    async def StartEpisode(self, request: pb.StartEpisodeRequest, _context: Any) -> pb.StartEpisodeResponse:
        """Begin an episode."""
        run, brain = await self._parts.play.start(beginning(request))
        return pb.StartEpisodeResponse(
            episode_id=run.number, policy_version=brain.version, variant=run.account.variant
        )

    async def Act(self, request: pb.ActRequest, _context: Any) -> pb.ActResponse:
        """Choose an action for the next step."""
        served = await self._served_in(request.episode_id)
        specification = served.specification
        decision = await self._parts.play.act(
            request.episode_id,
            _step(request.step),
            _observation(request, served),
            decode_mask(request.action_mask, specification.action, "action_mask"),
            mode_of(request.mode, "mode"),
        )
        return _act_response(served, decision)

    async def BatchAct(self, request: pb.BatchActRequest, context: Any) -> pb.BatchActResponse:
        """Choose in several episodes at once."""
        if not 1 <= len(request.requests) <= MAX_BATCH:
            raise invalid("requests", f"must have 1 to {MAX_BATCH:,} entries, not {len(request.requests)}")
        if len({each.episode_id for each in request.requests}) != len(request.requests):
            raise invalid("requests", "must name no episode twice")
        acts = [self._one_of_batch(each, context) for each in request.requests]
        return pb.BatchActResponse(results=await asyncio.gather(*acts))

    async def Observe(self, request: pb.ObserveRequest, _context: Any) -> pb.ObserveResponse:
        """Take in what came of an action."""
        served = await self._served_in(request.episode_id)
        outcome = _outcome(request, served)
        run = await self._parts.play.observe(request.episode_id, _step(request.step), outcome)
        return pb.ObserveResponse(state=encode_state(run.phase, run.decision is not None), next_step=run.step)

    async def EndEpisode(self, request: pb.EndEpisodeRequest, _context: Any) -> pb.EndEpisodeResponse:
        """Cut an episode."""
        served = await self._served_in(request.episode_id)
        seen = None
        if request.HasField("final_observation"):
            space = served.specification.observation
            seen = decode_value(request.final_observation, space, "final_observation")
        reward = _finite(request.reward, "reward") if request.HasField("reward") else None
        run = await self._parts.play.end(request.episode_id, seen, reward)
        return pb.EndEpisodeResponse(episode=encode_record(record_of(run), decided=False))

    async def GetEpisode(self, request: pb.GetEpisodeRequest, _context: Any) -> pb.GetEpisodeResponse:
        """Return an episode."""
        run = self._parts.runs.running(check_number(request.episode_id))
        if run is not None:
            return pb.GetEpisodeResponse(episode=encode_episode(run))
        record = await self._parts.runs.find(request.episode_id)
        return pb.GetEpisodeResponse(episode=encode_record(record, decided=False))

    async def LogAction(self, request: log_pb2.LogActionRequest, _context: Any) -> log_pb2.LogActionResponse:
        """Take in an action that the caller chose."""
        served = await self._served_in(request.episode_id)
        specification = served.specification
        observation = decode_value(request.observation, specification.observation, "observation")
        mask = decode_mask(request.action_mask, specification.action, "action_mask")
        action = decode_value(request.action, specification.action, "action")
        propensity = float("nan")
        if request.HasField("propensity"):
            propensity = check_propensity(request.propensity, served, "propensity")
        decision = await self._parts.play.log(
            request.episode_id, _step(request.step), Sight(observation, mask), action, propensity
        )
        return log_pb2.LogActionResponse(decision_id=decision.number)

    async def Decide(self, request: rewards_pb2.DecideRequest, _context: Any) -> rewards_pb2.DecideResponse:
        """Make one choice."""
        served = await self._parts.registry.get(request.policy)
        row, mask = context_row(request, served.specification)
        how = Beginning(request.policy, stage_of(request.stage, "stage"), request_id=request.request_id)
        decision = await self._parts.play.decide(how, row, mask)
        action = served.specification.action
        start = action.start if isinstance(action, Discrete) else 0
        return rewards_pb2.DecideResponse(
            decision_id=decision.number,
            action=int(decision.choice.action[0]) + start,
            propensity=decision.choice.propensity,
            policy_version=decision.choice.version,
        )

    async def SendRewards(
        self, request: rewards_pb2.SendRewardsRequest, _context: Any
    ) -> rewards_pb2.SendRewardsResponse:
        """Take rewards that come on their own."""
        if not 1 <= len(request.rewards) <= MAX_REWARDS:
            raise invalid("rewards", f"must have 1 to {MAX_REWARDS:,} entries, not {len(request.rewards)}")
        rewards = [_reward(each, f"rewards[{index}]") for index, each in enumerate(request.rewards)]
        served = await self._parts.registry.get(request.policy)
        joined = await self._parts.diary.reward(served, rewards)
        return rewards_pb2.SendRewardsResponse(
            accepted=joined.accepted, duplicates=joined.duplicates, unknown_decision_ids=joined.unknown
        )

    async def Rollout(
        self, requests: AsyncIterator[rollout_pb2.RolloutRequest], _context: Any
    ) -> AsyncIterator[rollout_pb2.RolloutResponse]:
        """Play k environments over one stream."""
        first = await anext(requests, None)
        if first is None:
            return
        name, opening = rollout_messages.decode_start(first)
        served = await self._parts.registry.get(name)
        rollout = Rollout(served, self._parts.play, self._parts.diary, opening)
        try:
            yield rollout_messages.encode_started(await rollout.start())
            space = served.specification.action
            async for request in requests:
                frame = rollout_messages.decode_step(request, served.specification, opening, rollout.begun)
                yield rollout_messages.encode_move(space, await rollout.step(frame))
            await rollout.finish()
        finally:
            rollout.leave()

    async def _served_in(self, episode: int) -> Served:
        return (await self._parts.runs.at(check_number(episode)))[1]

    async def _one_of_batch(self, request: pb.ActRequest, context: Any) -> pb.BatchActResult:
        try:
            return pb.BatchActResult(response=await self.Act(request, context))
        except TrunklineError as error:
            return pb.BatchActResult(failure=failure(error))


def check_propensity(value: float, served: Served, field: str) -> float:
    """Return a propensity; raises InvalidArgument unless it is one."""
    discrete = not isinstance(served.specification.action, Box)
    if not (isfinite(value) and value > 0 and (value <= 1 or not discrete)):
        raise invalid(field, "must be above 0, and at most 1 for discrete actions")
    return value


def _observation(request: pb.ActRequest, served: Served) -> Floats | None:
    if not request.HasField("observation"):
        return None
    return decode_value(request.observation, served.specification.observation, "observation")


def _outcome(request: pb.ObserveRequest, served: Served) -> Outcome:
    if request.terminated and request.truncated:
        raise invalid("truncated", "must be false where terminated is true")
    space = served.specification.observation
    seen = decode_value(request.next_observation, space, "next_observation")
    mask = decode_mask(request.next_action_mask, served.specification.action, "next_action_mask")
    reward = _finite(request.reward, "reward") if request.HasField("reward") else None
    return Outcome(reward, Sight(seen, mask), request.terminated, request.truncated)


def _act_response(served: Served, decision: Decision) -> pb.ActResponse:
    choice = decision.choice
    return pb.ActResponse(
        decision_id=decision.number,
        action=encode_value(served.specification.action, choice.action),
        propensity=choice.propensity,
        value=None if isnan(choice.value) else choice.value,
        policy_version=choice.version,
    )


def _reward(message: rewards_pb2.Reward, field: str) -> Reward:
    if len(message.part.encode()) > MAX_PART_BYTES:
        raise invalid(f"{field}.part", f"must have at most {MAX_PART_BYTES} bytes")
    if not 0 < message.decision_id < 1 << 63:
        raise invalid(f"{field}.decision_id", "must be the id of a decision")
    final = message.final if message.HasField("final") else True
    return Reward(message.decision_id, message.part, _finite(message.value, f"{field}.value"), final)


def _step(step: int) -> int:
    if step < 0:
        raise invalid("step", f"must be 0 or more, not {step}")
    return step


def _finite(value: float, field: str) -> float:
    if not isfinite(value):
        raise invalid(field, "must be finite")
    return value
