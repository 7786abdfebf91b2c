"""`trunkline recommend` and `trunkline similar`: lists, on a terminal or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.kit.command import Command, public_channel

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.table import Table
    from trunkline.recommender.v1.recommendations_pb2 import Recommendation

UNARY_SECONDS = 30.0


def _recommend_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's id; an unknown one gets the fallback")
    _list_arguments(parser)
    parser.add_argument(
        "--scenario", default="", metavar="NAME", help="the pipeline that answers (default: default)"
    )
    parser.add_argument("--exclude", nargs="*", default=[], metavar="ITEM", help="items to leave out")


def _similar_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("items", nargs="+", metavar="ITEM", help="an item's id, or several: a basket")
    _list_arguments(parser)
    parser.add_argument(
        "--by", choices=["blend", "interactions", "content"], default="blend", help="alike in what"
    )


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--max-results", type=int, default=10, metavar="N", help="how many, 1 to 1,000 (default: 10)"
    )
    parser.add_argument(
        "--filter",
        default="",
        metavar="EXPRESSION",
        help="""such as 'category in ["drama"] and year < 1990'""",
    )
    parser.add_argument("--explain", action="store_true", help="say why each item is there")


def _recommend(arguments: argparse.Namespace) -> int:
    from trunkline.recommender.v1.options_pb2 import RecommendOptions
    from trunkline.recommender.v1.recommendations_pb2 import RecommendRequest
    from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

    options = RecommendOptions(
        scenario=arguments.scenario,
        max_results=arguments.max_results,
        filter=arguments.filter,
        exclude_item_ids=arguments.exclude,
        explain=arguments.explain,
        return_items=True,
    )
    with public_channel() as channel:
        answer = RecommenderServiceStub(channel).Recommend(
            RecommendRequest(user_id=arguments.user, options=options), timeout=UNARY_SECONDS
        )
    if arguments.json:
        print_json(answer)
        return 0
    show(answer.items)
    made = answer.provenance
    fallback = f", {_fallback(made.fallback)}" if made.fallback else ""
    print(f"{made.model_version or 'no model yet'}, scenario {made.scenario}{fallback}")
    return 0


def _similar(arguments: argparse.Namespace) -> int:
    from trunkline.recommender.v1.recommendations_pb2 import Likeness, SimilarItemsRequest
    from trunkline.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub

    request = SimilarItemsRequest(
        item_ids=arguments.items,
        by=Likeness.Value(f"LIKENESS_{arguments.by.upper()}"),
        max_results=arguments.max_results,
        filter=arguments.filter,
        explain=arguments.explain,
    )
    with public_channel() as channel:
        answer = RecommenderServiceStub(channel).SimilarItems(request, timeout=UNARY_SECONDS)
    if arguments.json:
        print_json(answer)
    else:
        show(answer.items)
    return 0


def show(items: Sequence[Recommendation]) -> None:
    """Print a list as people read it."""
    from rich.console import Console

    if items:
        Console(highlight=False).print(table(items))
    else:
        print("Nothing may be shown here; see `trunkline recommender status`.")


def table(items: Sequence[Recommendation]) -> Table:
    """Return a list as people read it; reasons and names stand where there are any."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    shown.add_column("RANK", justify="right")
    for heading in ("ITEM", "NAME"):
        shown.add_column(heading)
    shown.add_column("SCORE", justify="right")
    for heading in ("SOURCE", "WHY"):
        shown.add_column(heading)
    for each in items:
        name = each.item.text.splitlines()[0][:60] if each.item.text else ""
        why = each.explanation.text
        score = f"{each.score:.3f}"
        shown.add_row(str(each.rank), Text(each.item_id), Text(name), score, each.source, Text(why))
    return shown


def print_json(message: Message) -> None:
    """Print a message as one line of JSON."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    print(json.dumps(found, ensure_ascii=False))


def _fallback(number: int) -> str:
    from trunkline.recommender.v1.recommendations_pb2 import Fallback

    return Fallback.Name(number).removeprefix("FALLBACK_").lower().replace("_", " ")  # type: ignore[arg-type]


RECOMMEND = Command("recommend", "recommend items to a user, and say why", _recommend_arguments, _recommend)
SIMILAR = Command("similar", "show items like an item, or like a basket", _similar_arguments, _similar)
