"""Plays a gymnasium environment against a Trunkline mesh, which learns from it.

    python examples/python/policy.py [ENVIRONMENT] [STEPS]

`RemotePlayer` takes any gymnasium environments; it needs gymnasium and numpy, and nothing that learns.
"""

import os
import sys
from statistics import fmean
from uuid import uuid4

import grpc
import gymnasium
from trunkline.policy.v1.algorithms_pb2 import Algorithm, PpoParameters
from trunkline.policy.v1.episodes_pb2 import EPISODE_STAGE_EVALUATION
from trunkline.policy.v1.policies_pb2 import CreatePolicyRequest
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from trunkline.policy.v1.training_pb2 import StartTrainingRequest, StopTrainingRequest

from services.rl_policy.remote import RemotePlayer, environment_of


def main() -> None:
    environment_id = sys.argv[1] if len(sys.argv) > 1 else "CartPole-v1"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    environments = [gymnasium.make(environment_id) for _ in range(8)]
    policy = f"example-{uuid4().hex[:8]}"

    with grpc.insecure_channel(os.environ.get("TRUNKLINE_ADDRESS", "127.0.0.1:8080")) as channel:
        stub = PolicyServiceStub(channel)
        stub.CreatePolicy(
            CreatePolicyRequest(
                name=policy,
                environment=environment_of(environments[0], environment_id),
                algorithm=Algorithm(ppo=PpoParameters(), discount=0.98),
                seed=7,
            ),
            timeout=60,
        )
        stub.StartTraining(StartTrainingRequest(policy=policy), timeout=60)
        with RemotePlayer(stub, policy, environments, seed=7, lock_step=True) as player:
            player.play(steps)
        stub.StopTraining(StopTrainingRequest(policy=policy), timeout=60)

        stage = EPISODE_STAGE_EVALUATION
        with RemotePlayer(stub, policy, environments, seed=1_000, stage=stage) as player:
            returns = player.play_episodes(5)
    print(f"{policy}: {fmean(returns):.1f} a greedy episode, after {steps:,} steps of {environment_id}")


if __name__ == "__main__":
    main()
