"""`trunkline policy`: train a policy in an environment of this process, list policies, promote versions."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from services.kit.command import Command, CommandError, operator_channel, public_channel

if TYPE_CHECKING:
    from trunkline.policy.v1.policies_pb2 import Policy

UNARY_SECONDS = 60.0
ALGORITHMS = (
    "q_learning",
    "sarsa",
    "expected_sarsa",
    "double_q",
    "dqn",
    "reinforce",
    "a2c",
    "ppo",
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_train_arguments(verbs.add_parser("train", help="play a gymnasium environment here, and learn there"))
    verbs.add_parser("list", help="list the policies")
    promote = verbs.add_parser("promote", help="give a version live episodes (operators)")
    promote.add_argument("policy")
    promote.add_argument("version", type=int)
    promote.add_argument("--share", type=float, default=1.0, help="of live episodes (default: 1)")
    for each in verbs.choices.values():
        each.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, for machines"
        )


def _add_train_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument("--algorithm", choices=ALGORITHMS, required=True, help="how to learn")
    train.add_argument("--env", required=True, metavar="ID", help="gymnasium's id: CartPole-v1")
    train.add_argument("--steps", type=_count, required=True, metavar="N", help="steps to learn from")
    train.add_argument("--seed", type=_seed, default=0, metavar="N", help="repeats a run (default: 0)")
    train.add_argument("--name", default="", help="the policy's name (default: made of algorithm and env)")
    train.add_argument(
        "--environments", type=_count, default=1, metavar="K", help="environments side by side (default: 1)"
    )
    train.add_argument("--discount", type=float, metavar="X", help="how much the future counts")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyper-parameter by its name in the contract; a schedule is START:END:STEPS",
    )
    train.add_argument(
        "--episodes", type=_count, default=100, metavar="N", help="greedy episodes at the end (default: 100)"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2^31 - 1, not {text}")
    return number


def _run(arguments: argparse.Namespace) -> int:
    return {"train": _train, "list": _list, "promote": _promote}[arguments.verb](arguments)


def _train(arguments: argparse.Namespace) -> int:
    try:
        from services.rl_policy import training_run
    except ImportError as error:
        message = f"`trunkline policy train` plays environments here and needs {error.name}: install it, "
        raise CommandError(message + "or Trunkline with the extra [policy].") from error
    run = training_run.TrainingRun(
        algorithm=arguments.algorithm,
        environment_id=arguments.env,
        steps=arguments.steps,
        seed=arguments.seed,
        name=arguments.name or training_run.name_of(arguments.algorithm, arguments.env),
        environments=arguments.environments,
        discount=arguments.discount,
        parameters=training_run.parameters_of(arguments.set),
        episodes=arguments.episodes,
    )
    say = (lambda _: None) if arguments.json else print
    with public_channel() as channel:
        outcome = training_run.train(channel, run, say)
    if arguments.json:
        print(json.dumps(outcome))
    else:
        print(
            f"{outcome['policy']}: mean return {outcome['return_mean']:.2f} ± {outcome['return_std']:.2f} "
            f"over {outcome['episodes']} greedy episodes, after {outcome['steps']:,} steps "
            f"in {outcome['wall_s']:.0f} s"
        )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from trunkline.policy.v1.policies_pb2 import ListPoliciesRequest
    from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

    with public_channel() as channel:
        answer = PolicyServiceStub(channel).ListPolicies(ListPoliciesRequest(), timeout=UNARY_SECONDS)
    rows = [_row(each) for each in answer.policies]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print("  ".join(f"{value}" for value in row.values()))
    return 0


def _row(policy: Policy) -> dict[str, Any]:
    from trunkline.policy.v1.training_pb2 import TrainingState

    return {
        "policy": policy.name,
        "algorithm": policy.algorithm.WhichOneof("kind"),
        "environment": policy.environment.name,
        "newest_version": policy.newest_version,
        "stable_version": policy.traffic.stable_version,
        "training": TrainingState.Name(policy.training.state).removeprefix("TRAINING_STATE_"),
        "steps": policy.training.steps,
    }


def _promote(arguments: argparse.Namespace) -> int:
    from trunkline.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
    from trunkline.policy.v1.traffic_pb2 import PromoteRequest

    request = PromoteRequest(policy=arguments.policy, version=arguments.version, share=arguments.share)
    with operator_channel() as channel:
        traffic = PolicyServiceStub(channel).Promote(request, timeout=UNARY_SECONDS).traffic
    shares = {
        "stable_version": traffic.stable_version,
        "canary_version": traffic.canary_version,
        "canary_share": traffic.canary_share,
    }
    print(json.dumps(shares) if arguments.json else "  ".join(f"{k}: {v}" for k, v in shares.items()))
    return 0


POLICY = Command("policy", "train policies in environments, list and promote them", _add_arguments, _run)
