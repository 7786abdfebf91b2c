"""The tour of a mesh that answers already; starting one is tested end to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gateway.commands import sights
from tests.free_ports import free_ports
from tests.unit.cli.double import Double, serving
from tests.unit.cli.monitor_double import SPANS, MonitorDouble

Trunkline = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sights, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(sights, "TEXTS", ("aaab", "aab", "bbb"))


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Double]]:
    """Gives the environment a mesh with the monitor asked for; both ports of it are one."""
    with ExitStack() as open_meshes:

        def make(monitor: MonitorDouble) -> Double:
            double = Double()
            address = open_meshes.enter_context(serving(double, monitor))
            monkeypatch.setenv("TRUNKLINE_ADDRESS", address)
            monkeypatch.setenv("TRUNKLINE_OPERATOR_ADDRESS", address)
            return double

        yield make


def test_it_shows_an_answer_vectors_the_mesh_and_the_answers_trace(
    mesh: Callable[..., Double], trunkline: Trunkline
):
    double = mesh(MonitorDouble())
    status, out, err = trunkline("tour")
    assert (status, err) == (0, "")
    places = [out.index(words) for words in (sights.QUESTION, "cosine", "here:1", "engine.decode")]
    assert places == sorted(places)
    assert double.asked[0].temperature == 0


def test_as_json_it_is_one_object(mesh: Callable[..., Double], trunkline: Trunkline):
    double = mesh(MonitorDouble())
    status, out, _ = trunkline("tour", "--json")
    seen = json.loads(out)
    assert status == 0
    assert seen["answer"]["text"].split() == sights.QUESTION.split()
    assert seen["likeness"]["related"] > seen["likeness"]["unrelated"]
    assert [span["name"] for span in seen["trace"]["spans"]] == [name for _, name, _ in SPANS]
    assert seen["trace"]["trace_id"] == double.trace_ids[0]


def test_a_trace_that_stays_incomplete_fails_the_tour_and_says_what_is_missing(
    mesh: Callable[..., Double], trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sights, "TRACE_SECONDS", 0.3)
    mesh(MonitorDouble(spans=3))
    status, _, err = trunkline("tour")
    assert status == 1
    assert "inference_worker, engine.decode is missing" in err


def test_vectors_that_tell_nothing_apart_fail_the_tour(
    mesh: Callable[..., Double], trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sights, "TEXTS", ("a", "b", "a"))
    mesh(MonitorDouble())
    status, _, err = trunkline("tour")
    assert status == 1
    assert "as alike as related ones" in err


def test_where_trunkline_address_names_a_mesh_elsewhere_none_is_started_here(
    trunkline: Trunkline, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRUNKLINE_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    status, _, err = trunkline("tour")
    assert status == 1
    assert err.startswith("No mesh answers at")
