"""`trunkline tour`: what the mesh does, in a minute; it starts a mesh when there is none."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from services.kit.command import Command, operator_channel, public_channel

if TYPE_CHECKING:
    import grpc
    from rich.console import Console

    from gateway.commands.answer import Answer
    from gateway.commands.episode import Played
    from gateway.commands.suggestions import Suggestions


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Starts a mesh when none answers at the public address, and stops it at the end."


def _run(arguments: argparse.Namespace) -> int:
    """Show an answer, embeddings, the mesh and the answer's trace; raises when one is not to be had."""
    from gateway.commands.lent_mesh import lent_mesh

    walk = _walk_for_machines if arguments.json else _walk
    with (
        lent_mesh(quiet=arguments.json),
        public_channel() as public,
        operator_channel() as operators,
    ):
        walk(public, operators)
    return 0


def _walk(public: grpc.Channel, operators: grpc.Channel) -> None:
    """Print each sight as a person reads it; the mesh and the trace as their own commands print them."""
    from rich.console import Console

    from gateway import cli
    from gateway.commands import episode, sights, suggestions
    from gateway.commands.inference import print_piece

    console = Console(highlight=False, soft_wrap=True)
    _heading(console, "A language model answers, streamed through one port")
    console.print(f"[bold]{sights.QUESTION}[/bold]")
    answer = sights.ask(public, print_piece)
    console.print(f"\n[dim]{answer.model}: {_pace(answer)}[/dim]")

    _heading(console, "Sentences as vectors")
    likeness = sights.compare(public)
    first, second, third = sights.TEXTS
    console.print(f'"{first}" and "{second}"  cosine [bold]{likeness.related:+.3f}[/bold]')
    console.print(f'"{first}" and "{third}"  cosine [bold]{likeness.unrelated:+.3f}[/bold]')
    console.print(f"[dim]{likeness.model}: {likeness.dimensions} values a vector[/dim]")

    _show_suggestions(console, suggestions.suggest(public, operators))
    _show_episodes(console, episode.play(public, operators))

    _heading(console, "The mesh")
    sights.picture(public, {answer.model, likeness.model})
    cli.run(["status", "--once"])

    _heading(console, "The answer's way through the mesh")
    sights.whole_trace(operators, answer.trace_id)
    cli.run(["trace", answer.trace_id])


def _walk_for_machines(public: grpc.Channel, operators: grpc.Channel) -> None:
    """Print one object that holds every sight."""
    import json
    from dataclasses import asdict

    from gateway.commands import episode, sights, suggestions
    from gateway.commands.answer import as_dict
    from gateway.commands.inference import ignore

    answer = sights.ask(public, ignore)
    likeness = sights.compare(public)
    suggested = suggestions.suggest(public, operators)
    played = episode.play(public, operators)
    seen = {
        "answer": answer.as_dict(),
        "likeness": asdict(likeness),
        "suggestions": asdict(suggested) if suggested else None,
        "episodes": asdict(played) if played else None,
        "mesh": as_dict(sights.picture(public, {answer.model, likeness.model})),
        "trace": as_dict(sights.whole_trace(operators, answer.trace_id)),
    }
    print(json.dumps(seen, ensure_ascii=False))


def _show_suggestions(console: Console, seen: Suggestions | None) -> None:
    """Print a newcomer's lists; nothing where the mesh has no recommender, or one with other data."""
    from rich.markup import escape

    if seen is None:
        return
    _heading(console, "Recommendations, and an event that changes them")
    console.print(f"A newcomer likes {', '.join(seen.liked)}:")
    for each in seen.before:
        console.print(f"  [bold]{escape(each.name)}[/bold]  [dim]{escape(each.why)}[/dim]")
    console.print(f"… and likes {seen.then} too; {seen.milliseconds:.0f} ms later:")
    for each in seen.after:
        console.print(f"  [bold]{escape(each.name)}[/bold]  [dim]{escape(each.why)}[/dim]")
    console.print("[dim]MovieLens-100K by GroupLens, for research; the newcomer is erased again[/dim]")


def _show_episodes(console: Console, seen: Played | None) -> None:
    """Print what a policy learned; nothing where the mesh has no policies' service."""
    if seen is None:
        return
    _heading(console, "A policy that learns an environment played here")
    console.print(
        f"A corridor of {seen.least_length + 1} places, {seen.steps} steps in lock-step over one stream, "
        f"{seen.seconds:.1f} s:"
    )
    console.print(f"the first episode took [bold]{seen.first_length}[/bold] steps, a greedy one at the end ")
    console.print(f"[bold]{seen.last_length}[/bold] [dim](the least is {seen.least_length})[/dim]")


def _heading(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}", align="left")


def _pace(answer: Answer) -> str:
    """Return how fast the answer came, as the worker measured it."""
    usage, timings = answer.finish.usage, answer.finish.timings
    first = (timings.queue.ToNanoseconds() + timings.prefill.ToNanoseconds()) / 1e9
    later = timings.decode.ToNanoseconds() / 1e6 / max(1, usage.completion_tokens - 1)
    return (
        f"{usage.prompt_tokens} tokens read, {usage.completion_tokens} made; "
        f"{first:.2f} s to the first, {later:.0f} ms for each after it"
    )


TOUR = Command("tour", "show what the mesh does; starts one if there is none", _add_arguments, _run)
