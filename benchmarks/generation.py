"""`python -m benchmarks.generation`: answers through the public port, beside what users would pick instead.

SmolLM2-135M-Instruct, prompts of 64 random tokens, 128 new ones, greedy, all prompts of a wave at once;
everyone in turns on the same two cores, in rounds of which medians are reported. Peers are built by
`make bench-peers`; one that is not there is left out, and said to be.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import conditions, machine, quiet, report
from benchmarks.conditions import Condition
from benchmarks.contestant import ContestantError, Generator, in_order
from benchmarks.figures import Goal, Streaming, Wave
from benchmarks.mesh import Mesh, MeshGenerator
from benchmarks.opponents import CONCURRENCY, OPPONENTS, OWN_ENGINE, Opponent
from benchmarks.own_engine import OwnEngine
from benchmarks.own_mesh import entry_name, own_mesh, telemetry, ways

PROMPT_TOKENS, WARM_TOKENS = 64, 8
PAGE = Path(__file__).with_suffix(".md")
HEAD = (
    "",
    "at once",
    "tokens/s",
    "first token p50, ms",
    "gap p50, ms",
    "gap p99, ms",
    "tokens together",
    "rounds, tokens/s",
)
DRAFTS = (
    "Greedy answers to random prompts soon repeat themselves, which prompt-lookup drafts guess: where tokens "
    "come together, part of the rate is theirs. Trunkline drafts as shipped; no peer does unless told to."
)
MESH_AT_ONE = (
    "One stream through the port stays below 0.85 of the engine in-process where drafts bring eight tokens a "
    "step: each step is a message through four processes, on the cores whose two threads compute the next "
    "step (`python -m benchmarks.hops`: 1.2 ms of CPU a token outside the engine at one at once). uvloop "
    "instead of asyncio's own loop changed nothing, nor did a lower priority for all but the engine."
)
Table = dict[str, dict[int, Streaming]]
Start = Callable[[str, Path], Generator]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    new_tokens: int
    precisions: tuple[str, ...]
    opponents: tuple[Opponent, ...]


@dataclass(frozen=True)
class Found:
    """What a run has shown."""

    circumstances: str
    table: Table
    conditions: Sequence[Condition]
    missing: Mapping[str, str]
    """Who was not measured, and why."""

    def goals(self, plan: Plan) -> list[Goal]:
        """Return all goals that can be told of."""
        return [*ratios(self.table, plan), *(goal for each in self.conditions for goal in each.goals)]


def measured(plan: Plan) -> Found:
    """Start everyone, take turns, and look at the conditions."""
    quietness, missing = quiet.claim(), dict[str, str]()
    with own_mesh(plan.precisions) as mesh:
        circumstances = f"{quietness} {telemetry()} {ways()}"
        with contestants(plan, mesh, missing) as everyone:
            table = take_turns(everyone, plan, missing)
            found = list(conditions.measure(mesh, everyone, plan.precisions, table))
    return Found(circumstances, table, found, missing)


def ours(precision: str) -> str:
    """Return what the table calls Trunkline in a precision."""
    return f"Trunkline, {precision}, public port"


def alone(precision: str) -> str:
    """Return what the table calls our engine without the mesh."""
    return f"own engine, {precision}, in-process"


def prompts() -> list[list[int]]:
    """Return the prompts, the same in every run."""
    numbers = random.Random(11)
    return [numbers.choices(range(1_000, 40_000), k=PROMPT_TOKENS) for _ in range(max(CONCURRENCY))]


@contextlib.contextmanager
def contestants(plan: Plan, mesh: Mesh, missing: dict[str, str]) -> Iterator[list[Generator]]:
    """Have everyone started, warmed up and halted; who does not start is put into `missing`, with why."""
    with contextlib.ExitStack() as running:
        logs = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-logs-")))
        everyone: list[Generator] = [
            MeshGenerator(ours(each), entry_name(each), mesh) for each in plan.precisions
        ]
        starts: list[tuple[str, Start]] = [(alone(each), OwnEngine.starter(each)) for each in plan.precisions]
        starts += [(each.label, each.start) for each in plan.opponents if not each.missing()]
        missing.update({each.label: each.missing() for each in plan.opponents if each.missing()})
        for number, (label, start) in enumerate(starts):
            try:
                report.progress(f"starting {label} …")
                started = start(label, logs / f"{number}.log")
                running.callback(started.close)
                everyone.append(started)
            except ContestantError as error:
                missing[label] = str(error)
        for each in everyone:
            warm(each)
        yield everyone


def warm(contestant: Generator) -> None:
    """Let a contestant meet every concurrency once, unmeasured."""
    with contestant.turn():
        for count in CONCURRENCY:
            contestant.wave(prompts()[:count], WARM_TOKENS)


def take_turns(everyone: list[Generator], plan: Plan, missing: dict[str, str]) -> Table:
    """Return the table: each round asks everyone in turn, and begins with another one.

    Who fails is put into `missing` and left out from then on.
    """
    waves: dict[str, dict[int, list[Wave]]] = defaultdict(lambda: defaultdict(list))
    for number in range(plan.rounds):
        for count in CONCURRENCY:
            for each in in_order(everyone, number):
                try:
                    with each.turn():
                        wave = each.wave(prompts()[:count], plan.new_tokens)
                except ContestantError as error:
                    missing[each.name] = str(error)
                    everyone.remove(each)
                    continue
                waves[each.name][count].append(wave)
                rate = wave.tokens_per_second
                report.progress(f"round {number + 1}, {count:3} at once: {rate:7.0f} tokens/s  {each.name}")
    order = [each.name for each in everyone]
    return {name: {count: Streaming.of(some) for count, some in waves[name].items()} for name in order}


def ratios(table: Table, plan: Plan) -> Iterator[Goal]:
    """Yield the ratios of the table, for who took part."""
    for opponent in plan.opponents:
        if opponent.label in table and opponent.against in plan.precisions:
            for count, required in opponent.required.items():
                ratio = table[ours(opponent.against)][count].rate / table[opponent.label][count].rate
                yield Goal(f"{opponent.against} ÷ {opponent.name} at {count}", ratio, required)
    for precision in plan.precisions:
        if alone(precision) in table:
            for count, required in OWN_ENGINE.items():
                ratio = table[ours(precision)][count].rate / table[alone(precision)][count].rate
                yield Goal(f"{precision} ÷ own engine at {count}", ratio, required)


def rows(table: Table) -> Iterator[list[str]]:
    """Yield the table's lines."""
    for name, levels in table.items():
        for count, each in levels.items():
            times = [f"{each.first_ms:.0f}", f"{each.gap_ms:.1f}", f"{each.late_gap_ms:.1f}"]
            together = f"{each.together:.2f}"
            yield [name, str(count), f"{each.rate:.0f}", *times, together, each.by_round()]


def page(found: Found, plan: Plan) -> list[str]:
    """Return the paragraphs of the page."""
    return [
        "# Generation, beside peers",
        machine.heading("benchmarks.generation"),
        (
            f"{found.circumstances} Prompts of {PROMPT_TOKENS} random tokens, {plan.new_tokens} new ones, "
            f"greedy, all at once; {plan.rounds} rounds, medians; reading the prompts is part of the rate."
        ),
        report.table(HEAD, rows(found.table)),
        DRAFTS,
        MESH_AT_ONE,
        *(f"Not measured: {label}: {why}" for label, why in found.missing.items()),
        *(each.sentence for each in found.conditions),
        report.goals_table(found.goals(plan)),
    ]


def results(found: Found) -> dict[str, Any]:
    """Return what JSON says of what was found."""
    told = {
        name: {str(count): each.told() for count, each in levels.items()}
        for name, levels in found.table.items()
    }
    met = {key: value for each in found.conditions for key, value in each.results.items()}
    return {**told, "conditions": met, "missing": found.missing}


def main() -> int:
    """Measure, print the page and write it; `--json` adds the line for machines."""
    arguments = read_arguments()
    plan = planned(arguments)
    found = measured(plan)
    written = page(found, plan)
    print("\n\n".join(written))
    if not arguments.quick:
        report.write(PAGE, *written)
    if arguments.json:
        print(report.last_line(results(found), found.goals(plan)))
    return 0


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of results and ratios")
    parser.add_argument(
        "--peers", default="all", help="all, none, or names: " + ",".join(each.name for each in OPPONENTS)
    )
    parser.add_argument("--precisions", default="q4,bfloat16", help="ours, by comma")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="one round of 32 tokens; the page is left as it is"
    )
    return parser.parse_args()


def planned(arguments: argparse.Namespace) -> Plan:
    """Return the plan; raises SystemExit for a peer that nobody knows."""
    wanted = (
        {each.name for each in OPPONENTS}
        if arguments.peers == "all"
        else set(arguments.peers.split(",")) - {"none"}
    )
    if unknown := wanted - {each.name for each in OPPONENTS}:
        raise SystemExit(f"There is no peer {', '.join(unknown)}.")
    return Plan(
        rounds=1 if arguments.quick else arguments.rounds,
        new_tokens=32 if arguments.quick else 128,
        precisions=tuple(arguments.precisions.split(",")),
        opponents=tuple(each for each in OPPONENTS if each.name in wanted),
    )


if __name__ == "__main__":
    sys.exit(main())
