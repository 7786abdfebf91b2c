"""`trunkline recommender`: import data, train, evaluate, and how it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.kit.command import Command, CommandError, operator_channel, public_channel

if TYPE_CHECKING:
    import grpc
    from trunkline.recommender.v1.evaluation_pb2 import EvaluateResponse

UNARY_SECONDS = 30.0
DATASETS = ("ml-100k",)


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _import_arguments(_action(actions, "import", "write items, users and events"))
    _evaluate_arguments(_action(actions, "evaluate", "split, train, rank everything, measure"))
    train = _action(actions, "train", "train a version on the mesh's events and serve it")
    _algorithm_argument(train)
    _action(actions, "status", "show how the mesh's recommender is")


def _action(actions: Any, name: str, said: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=said, description=said)
    # Before or after the action: what stands there is not overwritten by what does not stand here.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, for machines"
    )
    return parser


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=DATASETS, help="public data, fetched once")
    for name in ("items", "users", "events"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"{name} as JSON lines, a message a line"
        )
    parser.add_argument("--train", action="store_true", help="train a version on it and serve that")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        help="evaluate on this, in a recommender of its own (default: on what the mesh's recommender holds)",
    )
    parser.add_argument(
        "--protocol",
        default="random-75-25",
        help="random-75-25, temporal-80-20, leave-last-out, strong-80-20 or ratings-5-fold",
    )
    parser.add_argument("--seeds", type=_seeds, default=(1,), metavar="1,2,3", help="a run each (default: 1)")
    parser.add_argument("-k", type=int, default=10, help="the rank that lists end at (default: 10)")
    _algorithm_argument(parser)


def _algorithm_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--algorithm",
        action="append",
        default=[],
        metavar="KIND[:NAME=VALUE,…]",
        help="such as ease or ease:regularisation=500; several are blended (default: what serves)",
    )


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


def _run(arguments: argparse.Namespace) -> int:
    actions = {"import": _import, "evaluate": _evaluate, "train": _train, "status": _status}
    return actions[arguments.action](arguments)


def _import(arguments: argparse.Namespace) -> int:
    from services.recommender.commands.importing import TERMS, files, movielens, write

    given = (arguments.items, arguments.users, arguments.events)
    if not arguments.dataset and not any(given):
        raise CommandError("Name what to import: --dataset, or files by --items, --users, --events.")
    source = movielens() if arguments.dataset else files(*given)
    with public_channel() as channel:
        imported = write(channel, source)
    version = ""
    if arguments.train:
        with operator_channel() as channel:
            version = train(channel, [])
    if arguments.json:
        print(json.dumps({**imported.as_dict(), "version": version}))
        return 0
    print(
        f"{imported.items:,} items, {imported.users:,} users, {imported.events:,} events"
        f" ({imported.duplicates:,} were here, {imported.rejected:,} refused)"
    )
    if arguments.dataset:
        print(TERMS[arguments.dataset])
    if version:
        print(f"{version} serves")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    with operator_channel() as channel:
        version = train(channel, arguments.algorithm)
    print(json.dumps({"version": version}) if arguments.json else f"{version} serves")
    return 0


def train(channel: grpc.Channel, algorithms: list[str]) -> str:
    """Train on what is there, serve it and return the version; raises grpc.RpcError, CommandError."""
    from uuid import uuid4

    from trunkline.recommender.v1.models_pb2 import TrainRequest
    from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

    request = TrainRequest(request_id=uuid4().hex, algorithms=map(_algorithm, algorithms), wait=True)
    training = RecommenderServiceStub(channel).Train(request).training
    if not training.promoted:
        raise CommandError(f"{training.version} was trained and does not serve: {training.refused}")
    return training.version


def _evaluate(arguments: argparse.Namespace) -> int:
    from trunkline.recommender.v1.evaluation_pb2 import EvaluateRequest
    from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

    request = EvaluateRequest(
        algorithms=map(_algorithm, arguments.algorithm),
        protocol=arguments.protocol,
        seeds=arguments.seeds,
        k=arguments.k,
    )
    with _evaluated(arguments.dataset) as channel:
        answer = RecommenderServiceStub(channel).Evaluate(request)
    _print_evaluation(answer, as_json=arguments.json)
    return 0


@contextmanager
def _evaluated(dataset: str | None) -> Iterator[grpc.Channel]:
    """Yield a channel to the recommender to ask: the mesh's, or one that holds the dataset alone."""
    if dataset is None:
        with operator_channel() as channel:
            yield channel
        return
    from services.recommender.commands.importing import movielens, write
    from services.recommender.commands.own import own_recommender

    source = movielens()
    with own_recommender() as channel:
        write(channel, source)
        yield channel


def _print_evaluation(answer: EvaluateResponse, *, as_json: bool) -> None:
    metrics = {
        name: {
            "mean": each.mean,
            "per_seed": list(each.per_seed),
            "low": each.low,
            "high": each.high,
        }
        for name, each in sorted(answer.metrics.items())
    }
    if as_json:
        seconds = round(answer.duration.ToNanoseconds() / 1e9, 3)
        print(json.dumps({"metrics": metrics, "seconds": seconds}))
        return
    for name, each in metrics.items():
        print(f"{name:16} {each['mean']:8.4f}   95 %: {each['low']:.4f} to {each['high']:.4f}")


def _status(arguments: argparse.Namespace) -> int:
    from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
    from trunkline.recommender.v1.status_pb2 import GetStatusRequest

    from services.recommender.commands.asking import print_json

    with public_channel() as channel:
        found = RecommenderServiceStub(channel).GetStatus(GetStatusRequest(), timeout=UNARY_SECONDS)
    if arguments.json:
        print_json(found)
        return 0
    print(f"{found.items:,} items, {found.users:,} users, {found.events:,} events in {found.store}")
    print(f"{found.version or 'no version'} serves; scenarios: {', '.join(found.scenarios)}")
    for each in found.trainings:
        print(f"training {each.training_id}: {each.version or each.error or 'under way'}")
    return 0


def _algorithm(text: str) -> Any:
    from trunkline.recommender.v1.models_pb2 import Algorithm

    kind, _, listed = text.partition(":")
    pairs = [pair.partition("=") for pair in listed.split(",") if pair]
    try:
        return Algorithm(kind=kind, parameters={name: float(value) for name, _, value in pairs})
    except ValueError as error:
        raise CommandError(f"{text!r} is not of the form KIND:NAME=VALUE,…: {error}") from error


RECOMMENDER = Command("recommender", "import, train, evaluate, and how it is", _arguments, _run)
