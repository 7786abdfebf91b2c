"""Which version acts in live episodes, and how a bad one goes by itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save
from trunkline.policy.v1 import episodes_pb2, rewards_pb2, traffic_pb2, training_pb2, versions_pb2

from services.kit.errors import Reason
from tests.contract.rl_policy.serving import (
    POLICY,
    Serving,
    acted,
    begun,
    corridor,
    live_episode,
    place,
    refused,
    serving,
)
from tests.eventually import eventually


async def published(it: Serving, right: float) -> int:
    """Publish a version that steps right where `right` is above 0, always; return its number."""
    request = versions_pb2.GetPolicyBundleRequest(
        policy=POLICY, version=1, format=versions_pb2.BUNDLE_FORMAT_SAFETENSORS
    )
    parts = [part async for part in it.stub.GetPolicyBundle(request)]
    weights = load(b"".join(part.chunk for part in parts))
    weights["values"] = np.tile([0.0, right], (len(weights["values"]), 1))
    weights["epsilon"] = np.zeros(1)
    content = save({name: np.ascontiguousarray(each) for name, each in weights.items()})
    header = versions_pb2.PublishHeader(
        policy=POLICY,
        format=versions_pb2.BUNDLE_FORMAT_SAFETENSORS,
        digest=hashlib.sha256(content).hexdigest(),
    )
    messages = [
        versions_pb2.PublishVersionRequest(header=header),
        versions_pb2.PublishVersionRequest(chunk=content),
    ]
    return int((await it.stub.PublishVersion(iter(messages))).version.number)


async def test_a_bad_version_on_trial_is_rolled_back_by_itself_and_the_incident_says_why(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        good, bad = await published(it, 1.0), await published(it, -1.0)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=good))
        await it.stub.Promote(
            traffic_pb2.PromoteRequest(
                policy=POLICY, version=bad, share=0.1, guard=traffic_pb2.Guard(min_episodes=10)
            )
        )
        acted_by = [await live_episode(it.stub, float) for _ in range(400)]
        on_trial = acted_by.count(bad)
        assert 10 <= on_trial < 60
        assert acted_by[-50:] == [good] * 50

        async def told() -> bool:
            listed = await it.stub.ListIncidents(traffic_pb2.ListIncidentsRequest(policy=POLICY))
            return bool(listed.incidents)

        await eventually(told, within=60)
        listed = await it.stub.ListIncidents(traffic_pb2.ListIncidentsRequest(policy=POLICY))
        incident = listed.incidents[0]
        assert incident.kind == "ROLLED_BACK"
        assert f"version {bad} was rolled back" in incident.message
        assert incident.details["mean_return"] == "0"
        assert incident.details["stable_mean_return"] == "1"


async def test_a_good_version_on_trial_stays(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        good, other = await published(it, 1.0), await published(it, 2.0)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=good))
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=other, share=0.5))
        for _ in range(60):
            await live_episode(it.stub, float)
        request = traffic_pb2.GetTrafficReportRequest(policy=POLICY)
        report = await it.stub.GetTrafficReport(request)
        assert report.traffic.canary_version == other
        assert [each.variant for each in report.variants] == ["stable", "canary"]
        assert sum(each.episodes for each in report.variants) == 60


async def test_an_episode_keeps_its_version_when_the_traffic_changes(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        other = await published(it, 1.0)
        episode = await begun(it.stub, stage=episodes_pb2.EPISODE_STAGE_LIVE)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=other))
        assert (await acted(it.stub, episode, 0)).policy_version == 1
        assert await live_episode(it.stub, float) == other


async def test_a_rollback_returns_to_the_version_before(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        other = await published(it, 1.0)
        rollback = traffic_pb2.RollbackRequest(policy=POLICY, explanation="it was late")
        assert (await refused(it.stub.Rollback(rollback))).reason == Reason.VERSION_UNUSABLE
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=other))
        assert (await it.stub.Rollback(rollback)).traffic.stable_version == 1


async def test_a_shadow_is_asked_and_does_not_act(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        good, shadow = await published(it, 1.0), await published(it, -1.0)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=good))
        await it.stub.SetShadow(traffic_pb2.SetShadowRequest(policy=POLICY, version=shadow))
        assert {await live_episode(it.stub, float) for _ in range(10)} == {good}

        async def compared() -> bool:
            request = traffic_pb2.GetTrafficReportRequest(policy=POLICY)
            last = (await it.stub.GetTrafficReport(request)).variants[-1]
            return bool(last.compared_acts == 10 and last.agreement == 0)

        await eventually(compared, within=60)


async def test_late_rewards_of_decisions_count_for_the_guard(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        good = await published(it, 1.0)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=good))
        request = rewards_pb2.DecideRequest(
            policy=POLICY, context=place(0), stage=episodes_pb2.EPISODE_STAGE_LIVE, request_id="once"
        )
        decision = await it.stub.Decide(request)
        assert decision == await it.stub.Decide(request)
        assert decision.action == 1
        rewards = [
            rewards_pb2.Reward(decision_id=decision.decision_id, part="click", value=1.0, final=False),
            rewards_pb2.Reward(decision_id=decision.decision_id, part="sale", value=2.0),
        ]
        sent = rewards_pb2.SendRewardsRequest(policy=POLICY, rewards=rewards)
        assert (await it.stub.SendRewards(sent)).accepted == 2
        assert (await it.stub.SendRewards(sent)).duplicates == 2
        report = await it.stub.GetTrafficReport(traffic_pb2.GetTrafficReportRequest(policy=POLICY))
        assert (report.variants[0].episodes, report.variants[0].mean_return) == (1, 3.0)


async def test_a_replica_that_only_acts_follows_what_is_published_and_promoted(tmp_path: Path):
    async with serving(tmp_path) as it, serving(tmp_path, trains=False, follow_s=0.05) as replica:
        await it.stub.CreatePolicy(corridor())
        assert await live_episode(replica.stub, float) == 1
        start = training_pb2.StartTrainingRequest(policy=POLICY)
        assert (await refused(replica.stub.StartTraining(start))).reason == Reason.TRAINING_STATE
        good = await published(it, 1.0)
        await it.stub.Promote(traffic_pb2.PromoteRequest(policy=POLICY, version=good))

        async def follows() -> bool:
            return await live_episode(replica.stub, float) == good

        await eventually(follows, within=60)
