"""`python -m benchmarks.embedding`: vectors through the public port, beside what users would pick instead.

all-MiniLM-L6-v2 on 2,000 sentences of mixed lengths (see `benchmarks/sentences.py`), one sentence a request,
callers in a closed loop; everyone in turns on the same two cores, in rounds of which medians are reported.
Beside the servers stand engines in-process: OpenVINO on all sentences, sorted by length, in batches of 32,
and ours on windows of 32 sentences in the order of the list.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, quiet, report
from benchmarks.contestant import ContestantError, in_order
from benchmarks.embedders import Embedder, Load, MeshEmbedder
from benchmarks.encoders import Alone, InProcess, nearness
from benchmarks.figures import Goal, Rates, percentile
from benchmarks.own_mesh import own_mesh, telemetry, ways
from benchmarks.peers import models
from benchmarks.peers.models import ENCODER
from benchmarks.sentences import sentences
from benchmarks.servers import SERVERS, ServerPeer, started

SENTENCES, COMPARED = 2_000, 32
# Sentences that everyone is asked for at a concurrency: as many as the slowest answers within seconds.
ASKED = {1: 150, 8: 400, 32: 800}
ASKED_OF_US = {**ASKED, 128: 2_000}
AGAINST_SERVERS = {1: 1.5, 8: 3.0, 32: 3.0}
AGAINST_ENGINE = {32: 0.5, 128: 0.65}
NATIVE_TOKENS = 45_000
PAGE = Path(__file__).with_suffix(".md")
TRIED = (
    "Where a goal against the best server is missed, this was tried (`python -m benchmarks.hops` has the "
    "costs): each thread takes whole inputs through all layers instead of sharing every operation (the "
    "encoder alone: from 35,000 to 50,000 tokens/s; through the port a third more at 32 and 128 at once); "
    "batches of 256 and 512 tokens instead of 1,024, so that answers come in smaller waves (no "
    "difference); uvloop instead of asyncio's own loop (none). What is left is the way, not the model: at "
    "8 at once a call costs about 5 ms of CPU, of which the engine has 2; the rest is what gRPC costs in "
    "four processes."
)
HEAD = ("", "at once", "sentences/s", "wait p50, ms", "wait p99, ms", "rounds, sentences/s")
Table = dict[str, dict[int, "Row"]]


@dataclass(frozen=True)
class Row(Rates):
    """One contestant at one concurrency: sentences a second by round, and how long answers took."""

    wait_ms: float
    late_ms: float

    @classmethod
    def of(cls, loads: Sequence[Load]) -> Row:
        """Return the rounds' rates, and percentiles over all rounds' answers."""
        waits = [1e3 * wait for load in loads for wait in load.waits]
        return cls(tuple(load.rate for load in loads), percentile(waits, 0.5), percentile(waits, 0.99))


@dataclass(frozen=True)
class Found:
    """What a run has shown."""

    circumstances: str
    table: Table
    alone: InProcess
    near: Mapping[str, float]
    """Each contestant's least cosine to OpenVINO's vectors."""
    missing: Mapping[str, str]
    """Who was not measured, and why."""

    def goals(self) -> list[Goal]:
        """Return the goals that can be told of."""
        return list(ratios(self.table, self.alone.figures))


def measured(peers: str, rounds: int) -> Found:
    """Start everyone and take turns."""
    quietness, missing = quiet.claim(), dict[str, str]()
    texts = sentences(SENTENCES, models.path(ENCODER))
    with own_mesh(()) as mesh, contextlib.ExitStack() as running:
        circumstances = f"{quietness} {telemetry()} {ways()}"
        everyone: list[Embedder] = [MeshEmbedder(mesh), *started(chosen(peers), running, missing)]
        for each in everyone:
            warm(each, texts)
        alone = InProcess(running, missing, texts, openvino=peers != "none")
        table = take_turns(everyone, alone, texts, rounds, missing)
        near = nearness(everyone, texts[:COMPARED], alone)
    return Found(circumstances, table, alone, near, missing)


def warm(contestant: Embedder, texts: Sequence[str]) -> None:
    """Let a contestant meet every concurrency once, unmeasured."""
    with contestant.turn():
        for count in ASKED:
            contestant.load(texts[: 2 * count], count)


def take_turns(
    everyone: list[Embedder], alone: InProcess, texts: Sequence[str], rounds: int, missing: dict[str, str]
) -> Table:
    """Return the table: each round begins with another one, and has sentences of its own.

    Who fails is put into `missing` and left out from then on.
    """
    loads: dict[str, dict[int, list[Load]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for each in in_order(everyone, number):
            try:
                for count, load in one_turn(each, texts, number):
                    loads[each.name][count].append(load)
            except ContestantError as error:
                missing[each.name] = str(error)
                everyone.remove(each)
        alone.take_turn()
    order = [each.name for each in everyone]
    return {name: {count: Row.of(some) for count, some in loads[name].items()} for name in order}


def one_turn(each: Embedder, texts: Sequence[str], number: int) -> Iterator[tuple[int, Load]]:
    """Yield what a contestant shows at each concurrency in this round."""
    for count, asked in (ASKED_OF_US if isinstance(each, MeshEmbedder) else ASKED).items():
        some = [texts[(number * asked + at) % len(texts)] for at in range(asked)]
        with each.turn():
            load = each.load(some, count)
        report.progress(f"round {number + 1}, {count:3} at once: {load.rate:7.0f}/s  {each.name}")
        yield count, load


def ratios(table: Table, alone: dict[Alone, Rates]) -> Iterator[Goal]:
    """Yield the goals that can be told of who took part."""
    ours, *servers = table.values()
    for count, required in AGAINST_SERVERS.items() if servers else ():
        best = max(each[count].rate for each in servers)
        yield Goal(f"embedding ÷ best server at {count}", ours[count].rate / best, required)
    if Alone.OPENVINO in alone:
        for count, required in AGAINST_ENGINE.items():
            ratio = ours[count].rate / alone[Alone.OPENVINO].rate
            yield Goal(f"embedding ÷ OpenVINO in-process at {count}", ratio, required)
    if Alone.NATIVE in alone:
        yield Goal("native encoder, tokens/s", alone[Alone.NATIVE].rate, NATIVE_TOKENS)


def rows(table: Table) -> Iterator[list[str]]:
    """Yield the table's lines."""
    for name, levels in table.items():
        for count, each in levels.items():
            waits = [f"{each.wait_ms:.1f}", f"{each.late_ms:.1f}"]
            yield [name, str(count), f"{each.rate:.0f}", *waits, each.by_round()]


def page(found: Found, rounds: int) -> list[str]:
    """Return the paragraphs of the page."""
    return [
        "# Embedding, beside peers",
        machine.heading("benchmarks.embedding"),
        (
            f"{found.circumstances} {SENTENCES:,} sentences of {found.alone.mean_tokens:.1f} tokens in the "
            f"mean, one a request, callers in a closed loop on the same cores; {rounds} rounds, medians."
        ),
        report.table(HEAD, rows(found.table)),
        report.table(["in-process", "a second", "rounds"], found.alone.rows()),
        *(
            f"Least cosine to OpenVINO's vectors: {cosine:.4f}, {name}."
            for name, cosine in found.near.items()
        ),
        *(f"Not measured: {label}: {why}" for label, why in found.missing.items()),
        report.goals_table(found.goals()),
        TRIED,
    ]


def results(found: Found) -> dict[str, Any]:
    """Return what JSON says of what was found."""
    told = {
        name: {str(count): each.told() for count, each in levels.items()}
        for name, levels in found.table.items()
    }
    alone = {"in-process": found.alone.told(), "least cosine": found.near}
    return {**told, **alone, "missing": found.missing}


def main() -> int:
    """Measure, print the page and write it; `--json` adds the line for machines."""
    arguments = read_arguments()
    rounds = 1 if arguments.quick else arguments.rounds
    found = measured(arguments.peers, rounds)
    written = page(found, rounds)
    print("\n\n".join(written))
    if not arguments.quick:
        report.write(PAGE, *written)
    if arguments.json:
        print(report.last_line(results(found), found.goals()))
    return 0


def chosen(names: str) -> list[ServerPeer]:
    """Return the servers that `--peers` names."""
    return [each for each in SERVERS if names == "all" or each.name in names.split(",")]


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end with one line of results and ratios")
    names = ",".join(each.name for each in SERVERS)
    parser.add_argument("--peers", default="all", help=f"all, none, or of {names} (OpenVINO comes with any)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round; the page is left as it is")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
