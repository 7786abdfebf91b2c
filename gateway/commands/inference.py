"""`trunkline generate`, `chat` and `embed`: what they take, and what they print."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from services.kit.command import Command, CommandError, public_channel

if TYPE_CHECKING:
    from gateway.commands.answer import Answer


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="the model (default: the one that generates text)")
    parser.add_argument("--system", metavar="TEXT", help="tell the model first what it is to be")
    parser.add_argument("--max-tokens", type=_natural, metavar="N", help="the most tokens to make")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy; unset: the model's own")
    parser.add_argument("--top-p", type=float, metavar="P", help="keep the likeliest tokens up to this sum")
    parser.add_argument("--top-k", type=_natural, metavar="K", help="keep this many likeliest tokens")
    parser.add_argument("--min-p", type=float, metavar="P", help="drop tokens below this share of the best")
    parser.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1 makes repeats rarer")
    parser.add_argument("--seed", type=_natural, metavar="N", help="make a sampled answer repeatable")
    parser.add_argument(
        "--stop", action="append", metavar="TEXT", help="end the answer here; may be repeated"
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask (default: standard input)")
    parser.add_argument("--raw", action="store_true", help="go on from PROMPT as it stands: no chat template")
    _add_sampling(parser)


def _generate(arguments: argparse.Namespace) -> int:
    """Ask once. PROMPT goes as a chat of one message: what an instruct model was taught to answer."""
    from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
    from trunkline.inference.v1.sampling_pb2 import Task

    from gateway.commands.answer import chat, conversation, request, stream
    from gateway.commands.offer import model_for
    from gateway.commands.trace_context import TraceContext

    prompt = " ".join(arguments.prompt) or _standard_input("a prompt")
    with public_channel() as channel:
        stub = InferenceServiceStub(channel)
        asked = request(model_for(stub, Task.TASK_GENERATE, arguments.model), arguments)
        if arguments.raw:
            asked.prompt = prompt
        else:
            asked.chat.CopyFrom(chat(conversation(prompt, arguments.system)))
        show = ignore if arguments.json else print_piece
        answer = stream(stub, asked, show, TraceContext())
    _print_end(answer, as_json=arguments.json)
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
    from trunkline.inference.v1.sampling_pb2 import Task

    from gateway.commands.chat import Conversation, converse
    from gateway.commands.offer import model_for

    with public_channel() as channel:
        stub = InferenceServiceStub(channel)
        arguments.model = model_for(stub, Task.TASK_GENERATE, arguments.model)
        show = ignore if arguments.json else print_piece
        conversation = Conversation(stub, arguments, show)
        for answer in converse(conversation, interactive=sys.stdin.isatty() and sys.stdout.isatty()):
            _print_end(answer, as_json=arguments.json)
    return 0


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="what to embed (default: lines of standard input)"
    )
    parser.add_argument("--model", metavar="NAME", help="the model (default: the one that embeds)")
    parser.add_argument("--pooling", choices=["mean", "cls", "last"], help="unset: the model's own way")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale to length 1; unset: the model's own way",
    )
    parser.add_argument("--dimensions", type=_natural, metavar="N", help="keep this many leading dimensions")


def _embed(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
    from trunkline.inference.v1.sampling_pb2 import Pooling, Task

    from gateway.commands.embedding import embed, lines, print_cosines, print_vectors
    from gateway.commands.offer import model_for

    texts = arguments.texts or lines(_standard_input("texts").splitlines())
    pooling = Pooling.Value(f"POOLING_{(arguments.pooling or 'unspecified').upper()}")
    options = {"normalize": arguments.normalize, "dimensions": arguments.dimensions, "pooling": pooling}
    with public_channel() as channel:
        stub = InferenceServiceStub(channel)
        model = model_for(stub, Task.TASK_EMBED, arguments.model)
        embedded = embed(stub, model, texts, **options)
    if arguments.json:
        said = {"model": model, "model_version": embedded.model_version, "embeddings": embedded.vectors}
        print(json.dumps({**said, "usage": {"prompt_tokens": embedded.prompt_tokens}}))
        return 0
    console = Console()
    print_vectors(console, texts, embedded.vectors)
    if len(texts) > 1:
        print_cosines(console, texts, embedded.vectors)
    return 0


def _standard_input(what: str) -> str:
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    if not text.strip():
        raise CommandError(f"Give {what} as an argument or on standard input.")
    return text.removesuffix("\n")


def print_piece(text: str) -> None:
    """Print a piece of an answer at once; at a terminal without what the terminal would obey."""
    from gateway.commands.answer import printable

    print(printable(text) if sys.stdout.isatty() else text, end="", flush=True)


def ignore(_: str) -> None:
    """Show nothing: the whole answer is printed as JSON at its end."""


def _print_end(answer: Answer, *, as_json: bool) -> None:
    print(json.dumps(answer.as_dict(), ensure_ascii=False) if as_json else "", flush=True)


GENERATE = Command("generate", "ask a model once and stream its answer", _add_generate, _generate)
CHAT = Command("chat", "talk with a model; Ctrl-C stops an answer, Ctrl-D leaves", _add_sampling, _chat)
EMBED = Command("embed", "turn texts into vectors, and compare them", _add_embed, _embed)
