"""What goes in and out besides episodes: recordings, samples, versions and how good they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from safetensors.numpy import load
from trunkline.policy.v1 import (
    algorithms_pb2,
    episodes_pb2,
    evaluation_pb2,
    log_pb2,
    policies_pb2,
    training_pb2,
    versions_pb2,
)

from services.kit.errors import Reason
from services.rl_policy.remote import environment_of
from tests.contract.rl_policy.serving import (
    LENGTH,
    POLICY,
    Serving,
    acted,
    begun,
    corridor,
    observed,
    place,
    refused,
    serving,
)
from tests.eventually import eventually


def recorded(steps: int, propensity: float = 0.5) -> log_pb2.RecordedEpisode:
    """Return an episode in which somebody went right and left in turn."""
    made = [
        log_pb2.RecordedStep(
            observation=place(index % 2), action=place(1 - index % 2), propensity=propensity, reward=index
        )
        for index in range(steps)
    ]
    return log_pb2.RecordedEpisode(
        steps=made, final_observation=place(steps % 2), terminated=True, tags={"from": "afar"}
    )


async def imported(it: Serving, episodes: Sequence[log_pb2.RecordedEpisode]) -> Any:
    messages = [log_pb2.ImportEpisodesRequest(policy=POLICY)]
    messages += [log_pb2.ImportEpisodesRequest(episodes=[each]) for each in episodes]
    return await it.stub.ImportEpisodes(iter(messages))


async def exported(it: Serving, **how: Any) -> list[log_pb2.RecordedEpisode]:
    request = log_pb2.ExportEpisodesRequest(policy=POLICY, **how)
    return [each async for part in it.stub.ExportEpisodes(request) for each in part.episodes]


async def test_what_was_imported_is_exported_again(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        sent = [recorded(steps) for steps in (1, 3, 2)]
        told = await imported(it, sent)
        assert (told.episodes, told.transitions) == (3, 6)
        back = await exported(it, tags={"from": "afar"})
        assert [len(each.steps) for each in back] == [1, 3, 2]
        assert [step.reward for step in back[1].steps] == [0, 1, 2]
        assert back[1].steps[0].action == place(1)
        assert back[1].final_observation == place(1)
        assert back[1].terminated
        after = await exported(it, after_episode_id=back[0].episode_id)
        assert [each.episode_id for each in after] == [each.episode_id for each in back[1:]]
        assert await exported(it, tags={"from": "here"}) == []


async def test_a_wrong_step_of_an_import_is_named(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        wrong = recorded(2)
        wrong.steps[1].observation.integer = LENGTH
        error = await refused(imported(it, [wrong]))
        assert error.violations[0].field == "episodes[0].steps[1].observation"


async def test_live_episodes_are_exported_and_judged_by_too(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        for _ in range(12):
            episode = await begun(it.stub, stage=episodes_pb2.EPISODE_STAGE_LIVE)
            act = await acted(it.stub, episode, 0)
            await observed(it.stub, episode, 0, 1, reward=act.action.integer, terminated=True)
        assert len(await exported(it)) == 12
        request = evaluation_pb2.EvaluateRequest(
            policy=POLICY, version=1, episodes=evaluation_pb2.EpisodesEvaluation()
        )
        assert (await it.stub.Evaluate(request)).estimate.episodes == 12
        off_policy = evaluation_pb2.OffPolicyEvaluation(
            method=evaluation_pb2.OFF_POLICY_METHOD_SNIPS, min_effective_sample_size=2
        )
        estimate = (
            await it.stub.Evaluate(evaluation_pb2.EvaluateRequest(policy=POLICY, off_policy=off_policy))
        ).estimate
        assert estimate.low <= estimate.mean <= estimate.high


async def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        request = log_pb2.SampleReplayRequest(policy=POLICY, size=8, seed=3)
        assert (await refused(it.stub.SampleReplay(request))).reason == Reason.EVIDENCE_TOO_THIN
        await imported(it, [recorded(20)])
        first, again = await it.stub.SampleReplay(request), await it.stub.SampleReplay(request)
        assert first == again
        assert list(first.observations.shape) == [8, 1]


async def test_too_little_evidence_is_refused_with_its_size(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        await imported(it, [recorded(2) for _ in range(5)])
        request = evaluation_pb2.EvaluateRequest(
            policy=POLICY,
            off_policy=evaluation_pb2.OffPolicyEvaluation(method=evaluation_pb2.OFF_POLICY_METHOD_IPS),
        )
        error = await refused(it.stub.Evaluate(request))
        assert error.reason == Reason.EVIDENCE_TOO_THIN
        assert error.metadata["needed"] == "50"


async def test_learning_from_what_was_imported_goes_on_after_a_restart(tmp_path: Path):
    async def learned(it: Serving) -> int:
        status = (await it.stub.GetTraining(training_pb2.GetTrainingRequest(policy=POLICY))).status
        return int(status.steps)

    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor())
        await imported(it, [recorded(10) for _ in range(10)])
        await it.stub.StartTraining(training_pb2.StartTrainingRequest(policy=POLICY))

        async def first() -> bool:
            return await learned(it) == 100

        await eventually(first, within=120)
    async with serving(tmp_path) as it:
        await imported(it, [recorded(10)])

        async def rest() -> bool:
            return await learned(it) == 110

        await eventually(rest, within=120)
        kept = (await it.stub.Checkpoint(versions_pb2.CheckpointRequest(policy=POLICY))).version
        assert kept.steps == 110
        await it.stub.StopTraining(training_pb2.StopTrainingRequest(policy=POLICY))
        again = await it.stub.StopTraining(training_pb2.StopTrainingRequest(policy=POLICY))
        assert again.status.state == training_pb2.TRAINING_STATE_IDLE


async def test_a_table_is_given_away_whole(tmp_path: Path):
    async with serving(tmp_path) as it:
        await it.stub.CreatePolicy(corridor(initial_value=0.5))
        request = versions_pb2.GetPolicyBundleRequest(
            policy=POLICY, format=versions_pb2.BUNDLE_FORMAT_Q_TABLE
        )
        header, *chunks = [part async for part in it.stub.GetPolicyBundle(request)]
        content = b"".join(each.chunk for each in chunks)
        assert hashlib.sha256(content).hexdigest() == header.header.digest
        assert load(content)["q"].tolist() == [[0.5, 0.5]] * LENGTH


@pytest.mark.parametrize(("environment_id", "played"), [("FrozenLake-v1", 10), ("CartPole-v1", 0)])
async def test_a_built_in_environment_must_have_the_policys_spaces(
    tmp_path: Path, environment_id: str, played: int
):
    async with serving(tmp_path) as it:
        lake = gymnasium.make("FrozenLake-v1")
        algorithm = algorithms_pb2.Algorithm(q_learning=algorithms_pb2.TabularParameters())
        await it.stub.CreatePolicy(
            policies_pb2.CreatePolicyRequest(
                name=POLICY, environment=environment_of(lake), algorithm=algorithm
            )
        )
        built_in = evaluation_pb2.BuiltInEvaluation(environment_id=environment_id, episodes=10)
        call = it.stub.Evaluate(evaluation_pb2.EvaluateRequest(policy=POLICY, built_in=built_in))
        if played:
            assert (await call).estimate.episodes == played
        else:
            assert (await refused(call)).violations[0].field == "built_in.environment_id"
