"""Policies through the public port of a whole mesh, the environment in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import grpc
import pytest
from trunkline.policy.v1 import traffic_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from gateway.commands.episode import play
from tests.e2e.harness import RunningMesh


def trunkline(mesh: RunningMesh, *words: str) -> str:
    """Return what a command prints; it must exit with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", *words],
        env={**os.environ, "TRUNKLINE_ADDRESS": mesh.public, "TRUNKLINE_OPERATOR_ADDRESS": mesh.operators},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def train(mesh: RunningMesh, name: str) -> dict[str, object]:
    words = ("--algorithm", "q_learning", "--env", "FrozenLake-v1", "--steps", "1600", "--seed", "7")
    few = ("--environments", "16", "--episodes", "20", "--name", name, "--json")
    told = trunkline(mesh, "policy", "train", *words, *few)
    outcome: dict[str, object] = json.loads(told.splitlines()[-1])
    return outcome


def test_training_ends_with_one_line_and_repeats_itself(mesh: RunningMesh):
    first, again = train(mesh, "e2e-first"), train(mesh, "e2e-again")
    assert (first["episodes"], first["steps"]) == (20, 1600)
    assert first["return_mean"] == again["return_mean"]
    listed = {each["policy"]: each for each in json.loads(trunkline(mesh, "policy", "list", "--json"))}
    assert listed["e2e-first"]["newest_version"] == 2
    promoted = json.loads(trunkline(mesh, "policy", "promote", "e2e-first", "2", "--json"))
    assert promoted["stable_version"] == 2


def test_a_tour_of_the_policies_learns_its_corridor(mesh: RunningMesh):
    with grpc.insecure_channel(mesh.public) as public, grpc.insecure_channel(mesh.operators) as operators:
        seen = play(public, operators)
    assert seen is not None
    assert seen.last_length == seen.least_length


async def test_operators_rpcs_have_no_route_on_the_public_port(channel: grpc.aio.Channel):
    stub = PolicyServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Promote(traffic_pb2.PromoteRequest(policy="e2e-first", version=1))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
