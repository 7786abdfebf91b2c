"""What users feel beside the rate: a first token's wait, steady streams, cached prefixes, busy neighbours."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import quiet
from benchmarks.contestant import Generator
from benchmarks.figures import Goal, Streaming, Wave, percentile
from benchmarks.mesh import Mesh
from benchmarks.own_engine import OwnEngine
from benchmarks.own_mesh import entry_name

FIRST_TOKEN_MS, GAP_SPREAD, NEIGHBOURS_COST, PREFIX_GAIN = 400.0, 3.0, 3.0, 5.0
STREAMS, STREAM_TOKENS, LONG_PROMPT = 8, 400, 2_000
SHARED_TOKENS, OWN_TOKENS, PREFIX_TRIES = 512, 16, 7
STEPS = 128
_NUMBERS = random.Random(23)


@dataclass(frozen=True)
class Condition:
    """One thing that was measured."""

    sentence: str
    goals: tuple[Goal, ...]
    results: Mapping[str, Any]


def measure(
    mesh: Mesh,
    everyone: Sequence[Generator],
    precisions: Sequence[str],
    table: Mapping[str, Mapping[int, Streaming]],
) -> Iterator[Condition]:
    """Yield all conditions for each precision."""
    for precision in precisions:
        yield first_token(precision, table)
        with mesh.turn():
            yield long_prompts(mesh, precision)
            yield shared_prefix(mesh, precision)
    for each in everyone:
        if isinstance(each, OwnEngine):
            yield neighbours(each)


def first_token(precision: str, table: Mapping[str, Mapping[int, Streaming]]) -> Condition:
    """Look up the wait for a first token with the most prompts at once."""
    name, count = f"Trunkline, {precision}, public port", 32
    waited = table[name][count].first_ms
    goal = Goal(f"{precision}: first token at {count}, ms", waited, FIRST_TOKEN_MS, most=True)
    sentence = (
        f"{precision}: half of {count} prompts sent at once have their first token within {waited:.0f} ms."
    )
    return Condition(sentence, (goal,), {goal.name: round(waited, 1)})


def long_prompts(mesh: Mesh, precision: str) -> Condition:
    """Measure the gaps of running streams while long prompts arrive, one after another."""
    gaps, arrived = mesh.run(_gaps_beside_long_prompts(mesh, entry_name(precision)))
    middle, late = percentile(gaps, 0.5), percentile(gaps, 0.99)
    goal = Goal(f"{precision}: gap p99 ÷ p50 beside long prompts", late / middle, GAP_SPREAD, most=True)
    sentence = (
        f"{precision}: {STREAMS} streams while {arrived} prompts of {LONG_PROMPT:,} tokens arrive, the next "
        f"when the last has its first token: gap p50 {1e3 * middle:.1f} ms, p99 {1e3 * late:.1f} ms."
    )
    return Condition(sentence, (goal,), {goal.name: in_ms(middle, late)})


async def _gaps_beside_long_prompts(mesh: Mesh, model: str) -> tuple[list[float], int]:
    began = time.perf_counter()
    streams = [
        asyncio.ensure_future(mesh.answer(model, tokens(64), STREAM_TOKENS, began)) for _ in range(STREAMS)
    ]
    await mesh.answer(model, tokens(64), 1, began)  # they all run by then
    since, arrived = time.perf_counter() - began, 0
    while not any(stream.done() for stream in streams):
        await mesh.answer(model, tokens(LONG_PROMPT), 1, began)
        until, arrived = time.perf_counter() - began, arrived + 1
    times = [[each for each in await stream if since <= each <= until] for stream in streams]
    return Wave(times).gaps, arrived


def shared_prefix(mesh: Mesh, precision: str) -> Condition:
    """Measure the first token of prompts that share their beginning with an earlier one."""
    model, new, again = entry_name(precision), [], []
    for _ in range(PREFIX_TRIES):
        shared = tokens(SHARED_TOKENS)
        new.append(_first_token(mesh, model, shared + tokens(OWN_TOKENS)))
        again.append(_first_token(mesh, model, shared + tokens(OWN_TOKENS)))
    cold, warm = percentile(new, 0.5), percentile(again, 0.5)
    goal = Goal(f"{precision}: first token, {SHARED_TOKENS} tokens new ÷ cached", cold / warm, PREFIX_GAIN)
    sentence = (
        f"{precision}: the first token after {SHARED_TOKENS} + {OWN_TOKENS} takes {1e3 * cold:.1f} ms, "
        f"and {1e3 * warm:.1f} ms where the {SHARED_TOKENS} were read before (medians of {PREFIX_TRIES})."
    )
    return Condition(sentence, (goal,), {goal.name: in_ms(cold, warm)})


def _first_token(mesh: Mesh, model: str, prompt: list[int]) -> float:
    return mesh.run(mesh.answer(model, prompt, 1, time.perf_counter()))[0]


def neighbours(engine: OwnEngine) -> Condition:
    """Measure the step of eight sequences alone and beside two processes that compute without end."""
    prompts = [tokens(64) for _ in range(STREAMS)]
    with engine.turn():
        alone = percentile(engine.wave(prompts, STEPS).gaps, 0.5)
        with quiet.busy_neighbours(quiet.CORES):
            engine.wave(prompts, STEPS)  # in which it may notice them
            beside = percentile(engine.wave(prompts, STEPS).gaps, 0.5)
    goal = Goal(f"{engine.name}: step beside neighbours ÷ alone", beside / alone, NEIGHBOURS_COST, most=True)
    sentence = (
        f"{engine.name}: a step of {STREAMS} sequences takes {1e3 * alone:.1f} ms alone, and "
        f"{1e3 * beside:.1f} ms beside {quiet.CORES} processes that keep both cores busy."
    )
    return Condition(sentence, (goal,), {goal.name: in_ms(alone, beside)})


def tokens(count: int) -> list[int]:
    """Return random tokens that no prompt before had."""
    return _NUMBERS.choices(range(1_000, 40_000), k=count)


def in_ms(*seconds: float) -> list[float]:
    """Return seconds as milliseconds, to a tenth."""
    return [round(1e3 * each, 1) for each in seconds]
