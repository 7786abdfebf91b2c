"""Learns a policy with Ray RLlib from episodes that the service exports, and publishes it back as ONNX.

    python deploy/ray/learn.py --address HOST:PORT --policy NAME [--iterations 20] [--beta 1.0]

For policies with box observations and discrete actions. Needs `ray[rllib]`, torch, onnx and the base install
of trunkline; where a Ray cluster is (RAY_ADDRESS), it learns there. Ends with one line of JSON: the version,
which acts nowhere before it is promoted.

The algorithm is MARWIL (Wang et al., 2018): behaviour cloning that weighs actions by their advantage, beta 0
being behaviour cloning itself. Episodes come by ExportEpisodes, the model goes back by PublishVersion.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from trunkline.policy.v1 import log_pb2, policies_pb2, values_pb2, versions_pb2
from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

HIDDEN = [64, 64]
CHUNK_BYTES = 1 << 20


def main() -> None:
    """Export, learn, publish."""
    arguments = _arguments()
    with grpc.insecure_channel(arguments.address) as channel, tempfile.TemporaryDirectory() as folder:
        stub = PolicyServiceStub(channel)
        found = stub.GetPolicy(policies_pb2.GetPolicyRequest(name=arguments.policy), timeout=60).policy
        path = Path(folder) / "episodes.parquet"
        steps = write_steps(rows(stub, arguments.policy), path)
        model, metrics = learn(found.environment, path, arguments.iterations, arguments.beta)
        version = publish(stub, arguments.policy, model, {**metrics, "steps": float(steps)})
    print(json.dumps({"version": version, "steps": steps, **metrics}))


def rows(stub: PolicyServiceStub, policy: str) -> Iterator[dict[str, Any]]:
    """Yield every exported step as RLlib's offline data names it."""
    for answer in stub.ExportEpisodes(log_pb2.ExportEpisodesRequest(policy=policy)):
        for episode in answer.episodes:
            seen = [vector(step.observation) for step in episode.steps]
            following = [*seen[1:], vector(episode.final_observation)]
            last = len(seen) - 1
            for index, step in enumerate(episode.steps):
                yield {
                    "eps_id": str(episode.episode_id),
                    "t": index,
                    "obs": seen[index],
                    "new_obs": following[index],
                    "actions": int(step.action.integer),
                    "rewards": step.reward,
                    "terminateds": index == last and episode.terminated,
                    "truncateds": index == last and not episode.terminated,
                }


def vector(value: values_pb2.Value) -> list[float]:
    """Return a box observation as numbers."""
    if value.WhichOneof("kind") == "numbers":
        return list(value.numbers.values)
    return np.frombuffer(value.tensor.data, np.float32).tolist()


def write_steps(steps: Iterator[dict[str, Any]], path: Path) -> int:
    """Write steps as Parquet; return how many there are."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist(list(steps))
    parquet.write_table(table, path)
    return table.num_rows


def learn(environment: Any, path: Path, iterations: int, beta: float) -> tuple[bytes, dict[str, float]]:
    """Return the model as ONNX, and what was measured last."""
    import gymnasium
    import ray
    from ray.rllib.algorithms.marwil import MARWILConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    width = int(np.prod(environment.observation_space.box.shape))
    observations = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
    actions = gymnasium.spaces.Discrete(environment.action_space.discrete.n)
    ray.init(ignore_reinit_error=True, include_dashboard=False)
    try:
        algorithm = (
            MARWILConfig()
            .environment(observation_space=observations, action_space=actions)
            .offline_data(
                input_=[str(path)], input_read_method="read_parquet", dataset_num_iters_per_learner=50
            )
            .training(beta=beta, lr=1e-3, train_batch_size_per_learner=512)
            .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=HIDDEN, fcnet_activation="tanh"))
            .build_algo()
        )
        result: dict[str, Any] = {}
        for _ in range(iterations):
            result = algorithm.train()
        learner = result.get("learners", {}).get("default_policy", {})
        metrics = {name: float(learner[name]) for name in ("policy_loss", "total_loss") if name in learner}
        return to_onnx(algorithm.get_module(), width), metrics
    finally:
        ray.shutdown()


def to_onnx(module: Any, width: int) -> bytes:
    """Return a module of RLlib as ONNX: `observation` (batch, width) to `logits` (batch, choices)."""
    import torch

    class Logits(torch.nn.Module):
        """What the service asks of a model."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, observation: torch.Tensor) -> torch.Tensor:
            return self.module.forward_inference({"obs": observation})["action_dist_inputs"]

    written = io.BytesIO()
    torch.onnx.export(
        Logits().eval(),
        (torch.zeros(1, width),),
        written,
        input_names=["observation"],
        output_names=["logits"],
        dynamic_axes={"observation": {0: "batch"}, "logits": {0: "batch"}},
        dynamo=False,
    )
    return written.getvalue()


def publish(stub: PolicyServiceStub, policy: str, model: bytes, metrics: dict[str, float]) -> int:
    """Send the model; return the version that it became."""
    header = versions_pb2.PublishHeader(
        policy=policy,
        format=versions_pb2.BUNDLE_FORMAT_ONNX,
        digest=hashlib.sha256(model).hexdigest(),
        metrics=metrics,
    )

    def parts() -> Iterator[versions_pb2.PublishVersionRequest]:
        yield versions_pb2.PublishVersionRequest(header=header)
        for start in range(0, len(model), CHUNK_BYTES):
            yield versions_pb2.PublishVersionRequest(chunk=model[start : start + CHUNK_BYTES])

    return int(stub.PublishVersion(parts(), timeout=120).version.number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--address", default="127.0.0.1:8081", help="the operators' port, or the service's own"
    )
    parser.add_argument("--policy", required=True, help="the policy's name")
    parser.add_argument("--iterations", type=int, default=20, help="iterations of 50 updates")
    parser.add_argument(
        "--beta", type=float, default=1.0, help="how much advantages weigh; 0 clones behaviour"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
