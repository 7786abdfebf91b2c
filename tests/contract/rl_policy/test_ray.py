"""Ray's job: learns from exported episodes, and its policy comes back as ONNX and acts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from trunkline.policy.v1 import (
    algorithms_pb2,
    episodes_pb2,
    log_pb2,
    policies_pb2,
    spaces_pb2,
    values_pb2,
    versions_pb2,
)
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from tests.contract.rl_policy.policy_process import policy_process

JOB = Path(__file__).parents[3] / "deploy" / "ray" / "learn.py"
POLICY = "side"
SIZE = 2


def _episode(generator: np.random.Generator, steps: int) -> log_pb2.RecordedEpisode:
    """Return an episode in which an action pays where it is 1 for a positive first number, else 0."""
    seen = generator.normal(size=(steps + 1, SIZE)).astype(np.float32)
    actions = generator.integers(0, 2, steps)
    recorded = [
        log_pb2.RecordedStep(
            observation=_value(seen[step]),
            action=values_pb2.Value(integer=int(actions[step])),
            propensity=0.5,
            reward=float(actions[step] == (seen[step, 0] > 0)),
        )
        for step in range(steps)
    ]
    return log_pb2.RecordedEpisode(steps=recorded, final_observation=_value(seen[-1]), terminated=True)


def _value(numbers: np.ndarray) -> values_pb2.Value:
    return values_pb2.Value(numbers=values_pb2.Numbers(values=numbers.tolist()))


def _create(stub: PolicyServiceStub) -> None:
    environment = spaces_pb2.Environment(
        name="side",
        observation_space=spaces_pb2.Space(box=spaces_pb2.BoxSpace(shape=[SIZE])),
        action_space=spaces_pb2.Space(discrete=spaces_pb2.DiscreteSpace(n=2)),
    )
    algorithm = algorithms_pb2.Algorithm(ppo=algorithms_pb2.PpoParameters())
    request = policies_pb2.CreatePolicyRequest(name=POLICY, environment=environment, algorithm=algorithm)
    stub.CreatePolicy(request, timeout=120)


def _acts(stub: PolicyServiceStub, version: int, seen: float) -> int:
    start = episodes_pb2.StartEpisodeRequest(
        policy=POLICY, stage=episodes_pb2.EPISODE_STAGE_EVALUATION, pinned_version=version
    )
    number = stub.StartEpisode(start, timeout=60).episode_id
    observation = _value(np.array([seen, 0.0], np.float32))
    act = episodes_pb2.ActRequest(episode_id=number, step=0, observation=observation)
    return int(stub.Act(act, timeout=60).action.integer)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_policy_that_rllib_learned_from_exported_episodes_acts_here(tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'ray[rllib]')")
    generator = np.random.default_rng(3)
    with (
        policy_process(f"sqlite:///{tmp_path}/policies.db", tmp_path / "log") as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        stub = PolicyServiceStub(channel)
        _create(stub)
        episodes = [_episode(generator, 20) for _ in range(100)]
        stub.ImportEpisodes(
            iter([log_pb2.ImportEpisodesRequest(policy=POLICY, episodes=episodes)]), timeout=120
        )
        command = [
            sys.executable,
            str(JOB),
            "--address",
            process.address,
            "--policy",
            POLICY,
            "--iterations",
            "10",
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3_000)
        told = json.loads(done.stdout.strip().splitlines()[-1])
        request = versions_pb2.GetVersionRequest(policy=POLICY, version=told["version"])
        version = stub.GetVersion(request, timeout=60).version

        assert told["steps"] == 2_000
        assert version.origin == "published"
        assert [_acts(stub, told["version"], seen) for seen in (-2.0, -1.0, 1.0, 2.0)] == [0, 0, 1, 1]
