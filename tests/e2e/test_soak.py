"""The engine under a crowd for twenty minutes: nothing leaks, nothing grows, no answer is wrong."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import grpc
import numpy as np
import pytest
from trunkline.inference.v1.inference_pb2 import GenerateRequest
from trunkline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from trunkline.worker.v1.worker_pb2 import Load, WatchStatusRequest
from trunkline.worker.v1.worker_pb2_grpc import WorkerServiceStub

from tests.e2e.crowd import Outcome, arrive, ask, saturate
from tests.e2e.harness import RunningMesh, mesh_environment, running_mesh
from tests.e2e.residence import Residence, resident
from tests.eventually import eventually

MINUTES = float(os.environ.get("TRUNKLINE_SOAK_MINUTES", "20"))
CALLERS, SHARE, REPEATED = 32, 0.7, 200
CACHE_IS_FULL_MINUTES = 15
"""From here on memory is judged: in the first minutes the cache of keys and values takes its own."""


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_a_crowd_leaks_nothing_and_every_answer_is_what_a_quiet_engine_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_mesh(mesh_environment(tmp_path), tmp_path / "up.log") as mesh:
        async with grpc.aio.insecure_channel(mesh.public) as channel:
            stub = InferenceServiceStub(channel)
            rate = await saturate(stub, seed=1, callers=CALLERS, seconds=max(20.0, 3 * MINUTES))
            await eventually(lambda: idle(mesh), within=60)
            async with resident(mesh) as watched:
                outcomes = await arrive(stub, seed=2, rate=SHARE * rate, seconds=60 * MINUTES)
            await eventually(lambda: idle(mesh), within=60)
            different = await repeated(stub, outcomes)
    with capsys.disabled():
        sys.stdout.write(table(rate, outcomes, watched, different))
    assert_each_ended_as_its_caller_wanted(outcomes)
    assert not different, [difference(*pair) for pair in different]
    if MINUTES >= CACHE_IS_FULL_MINUTES:
        assert {name: each.growth for name, each in watched.items() if each.growth > each.allowed} == {}


async def idle(mesh: RunningMesh) -> bool:
    """Tell whether the workers have nothing to do, and their caches are free to the last block."""
    found = [load for worker in mesh.workers for load in await loads(worker)]
    return all(
        load.running == load.queued == load.outstanding_tokens == 0
        and load.free_cache_tokens == load.cache_tokens
        for load in found
    )


async def loads(worker: str) -> list[Load]:
    """Return the load of each model of a worker."""
    async with grpc.aio.insecure_channel(worker) as channel:
        watch = WorkerServiceStub(channel).WatchStatus(WatchStatusRequest())
        status = await watch.read()
        watch.cancel()
        return [model.load for model in status.models]


async def repeated(stub: InferenceServiceStub, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Ask some of the answered again, one at a time; return those whose tokens or text differ, with both."""
    answered = [each for each in outcomes if each.complete and isinstance(each.case.request, GenerateRequest)]
    some = random.Random(3).sample(answered, min(REPEATED, len(answered)))
    pairs = [(before, await ask(stub, before.case)) for before in some]
    return [(before, now) for before, now in pairs if (before.text, before.tokens) != (now.text, now.tokens)]


def difference(before: Outcome, now: Outcome) -> str:
    """Return, in a line, where two answers to one request part."""
    request = before.case.request
    at = sum(1 for _ in takewhile(bool, (a == b for a, b in zip(before.tokens, now.tokens, strict=False))))
    told = f"{now.prompt_tokens} + {at} of {request.max_tokens} tokens, temperature {request.temperature:g}"
    return f"{told}: {now.code.name}"


def assert_each_ended_as_its_caller_wanted(outcomes: Sequence[Outcome]) -> None:
    """Who waited got the whole answer; who left or had a deadline may have got it, too."""
    odd = [each for each in outcomes if each.case.waits and not each.complete]
    assert not odd, Counter(each.code for each in odd)
    late = {each.code for each in outcomes if each.case.gives_up_after_s is not None and not each.complete}
    assert late <= {grpc.StatusCode.DEADLINE_EXCEEDED}


def table(
    rate: float, outcomes: Sequence[Outcome], watched: dict[str, Residence], different: Sequence[object]
) -> str:
    """Return what happened, as markdown."""
    spoken = [each for each in outcomes if isinstance(each.case.request, GenerateRequest)]
    whole = [each for each in spoken if each.complete]
    waits = np.array([each.first_token_s for each in whole])
    read, cached = sum(each.prompt_tokens for each in whole), sum(each.cached_tokens for each in whole)
    ends = Counter(each.code.name for each in outcomes)
    rows = {
        "minutes": f"{MINUTES:g}",
        "calls a second": f"{len(outcomes) / 60 / MINUTES:.2f} of {rate:.2f} at saturation",
        "calls": f"{len(outcomes)}: {len(spoken)} generate, {len(outcomes) - len(spoken)} embed",
        "ends": ", ".join(f"{count} {name}" for name, count in ends.most_common()),
        "tokens made": f"{sum(len(each.tokens) for each in spoken):,}",
        "prompt tokens from the prefix cache": f"{cached / max(read, 1):.0%}",
        "time to first token, p50 and p99": " and ".join(
            f"{1000 * np.quantile(waits, each):.0f} ms" for each in (0.5, 0.99)
        ),
        "answers that differ from a quiet engine's": f"{len(different)} of {min(REPEATED, len(whole))}",
        "left running, or held of the cache": "nothing",
        **{f"resident memory, {name}": str(each) for name, each in watched.items()},
    }
    return "\n".join(
        ["\n", "| what | measured |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows.items()), ""]
    )
