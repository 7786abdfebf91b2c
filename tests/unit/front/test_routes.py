"""Names become versions: by the share of the traffic, or by the caller's word."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gateway.front.calls import Task
from gateway.front.routes import Route, Routes, Version, table
from services.kit.errors import FailedPrecondition, NotFound, Reason, Unavailable


def version(name: str, percent: int, *workers: str) -> Version:
    return Version(name, percent, workers, f"digest-{name}", 8_192)


def routes(*versions: Version) -> Routes:
    found = Routes(random.Random(7))
    found.replace(table([Route("m", Task.GENERATE, versions)], ["a:1", "b:1"], 1))
    return found


def test_traffic_follows_the_shares() -> None:
    shared = routes(version("2", 90, "a:1"), version("1", 10, "b:1"))
    counts = Counter(shared.resolve("m", None, Task.GENERATE).version.name for _ in range(2_000))
    assert counts["1"] == pytest.approx(200, abs=45)
    assert counts.total() == 2_000


def test_a_version_without_a_ready_worker_gets_no_traffic() -> None:
    shared = routes(version("2", 90), version("1", 10, "b:1"))
    assert {shared.resolve("m", None, Task.GENERATE).version.name for _ in range(50)} == {"1"}


def test_a_version_without_a_share_is_reached_by_name_only() -> None:
    shared = routes(version("2", 0, "a:1"), version("1", 100, "b:1"))
    assert {shared.resolve("m", None, Task.GENERATE).version.name for _ in range(50)} == {"1"}
    assert shared.resolve("m", "2", Task.GENERATE).version.workers == ("a:1",)


def test_unknown_names_are_not_found() -> None:
    shared = routes(version("1", 100, "a:1"))
    with pytest.raises(NotFound) as refusal:
        shared.resolve("n", None, Task.GENERATE)
    assert (refusal.value.reason, refusal.value.metadata) == (Reason.MODEL_NOT_FOUND, {"model": "n"})
    with pytest.raises(NotFound) as refusal:
        shared.resolve("m", "7", Task.GENERATE)
    assert refusal.value.reason == Reason.VERSION_NOT_FOUND
    assert refusal.value.metadata == {"model": "m", "version": "7"}


@pytest.mark.parametrize("name", [None, "1"])
def test_a_model_that_no_worker_has_ready_is_unavailable(name: str | None) -> None:
    with pytest.raises(Unavailable) as refusal:
        routes(version("1", 0)).resolve("m", name, Task.GENERATE)
    assert refusal.value.reason == Reason.MODEL_NOT_READY


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(FailedPrecondition) as refusal:
        routes(version("1", 100, "a:1")).resolve("m", None, Task.EMBED)
    assert refusal.value.reason == Reason.TASK_UNSUPPORTED
    assert refusal.value.metadata == {"model": "m", "task": "EMBED"}


def test_the_tables_workers_are_the_known_and_the_routed_ones() -> None:
    found = table([Route("m", Task.GENERATE, (version("1", 100, "c:1"),))], ["b:1", "a:1"], 4)
    assert found.workers == ("a:1", "b:1", "c:1")
    assert found.digests(Task.GENERATE) == ["digest-1"]
    assert found.digests(Task.EMBED) == []


def test_a_front_without_routes_says_so_and_not_that_a_model_is_unknown() -> None:
    with pytest.raises(Unavailable, match="no routes yet"):
        Routes().resolve("mine", None, Task.GENERATE)
