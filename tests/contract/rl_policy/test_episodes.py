"""Episodes, one call a step."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from trunkline.policy.v1 import episodes_pb2, log_pb2, policies_pb2, values_pb2

from services.kit.errors import Reason
from tests.contract.rl_policy.serving import (
    POLICY,
    acted,
    begun,
    corridor,
    observed,
    place,
    refused,
    serving,
)


async def test_an_episode_goes_from_its_start_to_its_end(tmp_path: Path):
    async with serving(tmp_path) as it:
        created = (await it.stub.CreatePolicy(corridor())).policy
        assert created.newest_version == 1
        episode = await begun(it.stub, tags={"from": "here"})
        act = await acted(it.stub, episode, 0)
        assert act.action.integer in {0, 1}
        assert act.propensity == 0.5
        going_on = await observed(it.stub, episode, 0, 1, reward=0.25)
        assert (going_on.state, going_on.next_step) == (episodes_pb2.EPISODE_STATE_DECIDING, 1)
        await acted(it.stub, episode, 1, at=None)
        done = await observed(it.stub, episode, 1, 2, reward=1.0, terminated=True)
        assert done.state == episodes_pb2.EPISODE_STATE_TERMINATED
        request = episodes_pb2.GetEpisodeRequest(episode_id=episode)
        ended = (await it.stub.GetEpisode(request)).episode
        assert (ended.steps, ended.total_reward, dict(ended.tags)) == (2, 1.25, {"from": "here"})


async def test_repeating_a_call_changes_nothing(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        start = episodes_pb2.StartEpisodeRequest(policy=POLICY, request_id="once")
        first, again = await it.stub.StartEpisode(start), await it.stub.StartEpisode(start)
        assert first.episode_id == again.episode_id
        episode = first.episode_id
        assert await acted(it.stub, episode, 0) == await acted(it.stub, episode, 0)
        told = [await observed(it.stub, episode, 0, 1, reward=1.0) for _ in range(2)]
        assert told[0] == told[1]
        assert it.parts.store.log.bounds(POLICY) == (0, 1)


async def test_a_step_out_of_order_says_which_one_is_expected(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episode = await begun(it.stub)
        error = await refused(acted(it.stub, episode, 3))
        assert (error.reason, error.metadata["expected_step"]) == (Reason.STEP_OUT_OF_ORDER, "0")
        error = await refused(observed(it.stub, episode, 0, 1, reward=0.0))
        assert error.reason == Reason.STEP_OUT_OF_ORDER


async def test_an_episode_that_has_ended_takes_no_further_step(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episode = await begun(it.stub)
        await acted(it.stub, episode, 0)
        end = episodes_pb2.EndEpisodeRequest(episode_id=episode, final_observation=place(1), reward=2.0)
        ended = (await it.stub.EndEpisode(end)).episode
        assert (ended.state, ended.total_reward) == (episodes_pb2.EPISODE_STATE_TRUNCATED, 2.0)
        assert (await it.stub.EndEpisode(end)).episode.steps == 1
        assert (await refused(acted(it.stub, episode, 1))).reason == Reason.EPISODE_ENDED


async def test_an_episode_that_is_too_long_is_cut(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor(max_steps=1))
        episode = await begun(it.stub)
        await acted(it.stub, episode, 0)
        state = (await observed(it.stub, episode, 0, 1, reward=0.0)).state
        assert state == episodes_pb2.EPISODE_STATE_TRUNCATED


@pytest.mark.parametrize(
    ("observation", "field"),
    [
        (values_pb2.Value(integer=6), "observation"),
        (values_pb2.Value(), "observation"),
        (values_pb2.Value(numbers=values_pb2.Numbers(values=[0.5])), "observation"),
        (values_pb2.Value(tensor=values_pb2.Tensor(shape=[2])), "observation.tensor.data_type"),
        (
            values_pb2.Value(
                tensor=values_pb2.Tensor(data_type=values_pb2.DATA_TYPE_INT64, data=b"12345678" * 2)
            ),
            "observation.tensor.data",
        ),
    ],
)
async def test_what_cannot_be_observed_is_refused_at_the_door(
    tmp_path: Path, observation: values_pb2.Value, field: str
):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episode = await begun(it.stub)
        request = episodes_pb2.ActRequest(episode_id=episode, observation=observation)
        error = await refused(it.stub.Act(request))
        assert [each.field for each in error.violations] == [field]


async def test_a_masked_action_is_not_chosen_and_a_mask_must_allow_something(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        for _ in range(20):
            episode = await begun(it.stub)
            act = await acted(it.stub, episode, 0, action_mask=[False, True])
            assert (act.action.integer, act.propensity) == (1, 1.0)
        error = await refused(acted(it.stub, await begun(it.stub), 0, action_mask=[False, False]))
        assert error.violations[0].field == "action_mask"


async def test_one_that_fails_does_not_fail_its_batch(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        known = await begun(it.stub)
        requests = [episodes_pb2.ActRequest(episode_id=each, observation=place(0)) for each in (known, 999)]
        answer = await it.stub.BatchAct(episodes_pb2.BatchActRequest(requests=requests))
        assert answer.results[0].response.decision_id
        assert answer.results[1].failure.reason == Reason.EPISODE_NOT_FOUND


async def test_many_calls_at_once_each_get_their_own_answer(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episodes = await asyncio.gather(*(begun(it.stub, seed=seed) for seed in range(50)))
        together = await asyncio.gather(*(acted(it.stub, each, 0) for each in episodes))
        assert len({each.decision_id for each in together}) == 50
        alone = [await acted(it.stub, await begun(it.stub, seed=seed), 0) for seed in range(50)]
        assert [each.action for each in together] == [each.action for each in alone]


async def test_what_the_caller_did_itself_is_logged_with_its_propensity(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episode = await begun(it.stub)
        request = log_pb2.LogActionRequest(
            episode_id=episode, observation=place(0), action=place(1), propensity=0.25
        )
        decision = (await it.stub.LogAction(request)).decision_id
        await observed(it.stub, episode, 0, 1, reward=1.0, terminated=True)
        kept = it.parts.store.log.range(POLICY, 0, 1)
        assert (kept.decision_id[0], kept.propensity[0], kept.action[0, 0]) == (decision, 0.25, 1)


async def test_too_many_episodes_are_refused_and_those_left_alone_make_room(tmp_path: Path):
    async with serving(tmp_path, episodes=2) as it:
        await it.stub.CreatePolicy(corridor())
        for _ in range(2):
            await begun(it.stub)
        assert (await refused(begun(it.stub))).reason == Reason.QUEUE_FULL
    async with serving(tmp_path, episodes=1, idle_s=0.0) as it:
        left = await begun(it.stub)
        await begun(it.stub)
        ended = (await it.stub.GetEpisode(episodes_pb2.GetEpisodeRequest(episode_id=left))).episode
        assert ended.state == episodes_pb2.EPISODE_STATE_ABANDONED


async def test_an_episode_outlives_the_service(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        episode = await begun(it.stub)
        await acted(it.stub, episode, 0)
        await observed(it.stub, episode, 0, 1, reward=1.0)
    async with serving(tmp_path) as it:
        await acted(it.stub, episode, 1, at=1)
        state = (await observed(it.stub, episode, 1, 2, reward=1.0, terminated=True)).state
        assert state == episodes_pb2.EPISODE_STATE_TERMINATED
        assert it.parts.store.log.bounds(POLICY) == (0, 2)


async def test_the_same_policy_again_is_the_same_and_another_of_its_name_is_refused(tmp_path: Path):
    async with serving(tmp_path) as it:
        assert await it.stub.CreatePolicy(corridor()) == await it.stub.CreatePolicy(corridor())
        assert (await refused(it.stub.CreatePolicy(corridor(seed=8)))).reason == Reason.POLICY_EXISTS
        listed = await it.stub.ListPolicies(policies_pb2.ListPoliciesRequest())
        assert [each.name for each in listed.policies] == [POLICY]
