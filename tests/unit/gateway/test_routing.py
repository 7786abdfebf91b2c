"""Routes follow from what workers say and operators decide."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.controller.publisher import endpoints
from gateway.controller.routing import derive, newest_first
from gateway.controller.table import ModelState, Overrides, RouteTable, Task, WorkerState

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = datetime(2026, 11, 24, tzinfo=UTC)
EMPTY = RouteTable(1, (), (), NOW)


def state(model: str, version: str = "1", *, ready: bool = True) -> ModelState:
    """Return a version of a model; one that is not ready does not know its tokenizer yet."""
    if not ready:
        return ModelState(model, version, ready=False)
    return ModelState(
        model,
        version,
        ready=True,
        task=Task.GENERATE,
        tokenizer_digest=f"digest of {version}",
        context_length=2048,
        ready_since=NOW,
    )


def worker(number: int, *models: ModelState, reachable: bool = True, draining: bool = False) -> WorkerState:
    """Return a worker called wN at 10.0.0.N."""
    return WorkerState(f"w{number}:1", f"10.0.0.{number}:1", reachable, draining, models)


def route(
    *workers: WorkerState, previous: RouteTable = EMPTY, overrides: Overrides | None = None
) -> RouteTable:
    """Return the routes that follow."""
    return derive(workers, overrides or Overrides(), previous, LATER)


def shares(table: RouteTable, model: str = "m") -> dict[str, int]:
    """Return a model's shares, newest version first."""
    found = table.model(model)
    assert found is not None
    return {version.version: version.traffic_percent for version in found.versions}


def ready_workers(table: RouteTable, model: str = "m") -> list[tuple[str, ...]]:
    """Return who has each version ready, newest version first."""
    found = table.model(model)
    assert found is not None
    return [version.workers for version in found.versions]


def test_a_ready_model_is_routed_to_all_who_have_it() -> None:
    table = route(worker(2, state("m")), worker(1, state("m")), worker(3, state("other")))
    assert ready_workers(table) == [("w1:1", "w2:1")]
    assert shares(table) == {"1": 100}
    assert [each.address for each in table.workers] == ["w1:1", "w2:1", "w3:1"]


def test_the_newest_version_that_is_ready_anywhere_gets_all_traffic() -> None:
    table = route(worker(1, state("m", "9"), state("m", "11", ready=False)), worker(2, state("m", "10")))
    assert shares(table) == {"11": 0, "10": 100, "9": 0}


def test_versions_sort_by_the_numbers_in_them() -> None:
    assert sorted(["10", "9", "2024-11-02", "1.10", "1.9", "a"], key=newest_first) == [
        "a",
        "1.9",
        "1.10",
        "9",
        "10",
        "2024-11-02",
    ]


def test_a_known_model_that_nobody_has_ready_stays_with_no_share() -> None:
    for one in (
        worker(1, state("m", ready=False)),
        worker(1, state("m"), reachable=False),
        worker(1, state("m"), draining=True),
    ):
        table = route(one)
        assert shares(table) == {"1": 0}
        assert ready_workers(table) == [()]


def test_what_a_version_is_like_stays_known_while_it_loads_again() -> None:
    before = route(worker(1, state("m")))
    after = route(worker(1, state("m", ready=False)), previous=before)
    found = after.model("m")
    assert found is not None
    assert (found.task, found.versions[0].tokenizer_digest) == (Task.GENERATE, "digest of 1")
    assert found.versions[0].ready_since is None


def test_a_model_that_its_only_worker_gave_up_is_unknown() -> None:
    before = route(worker(1, state("m")))
    assert route(worker(1), previous=before).model("m") is None


def test_a_drained_worker_is_listed_and_takes_no_calls() -> None:
    drained = Overrides(drained=frozenset({"w1:1"}))
    table = route(worker(1, state("m")), worker(2, state("m")), overrides=drained)
    assert ready_workers(table) == [("w2:1",)]
    assert [each.drained for each in table.workers] == [True, False]


def test_an_operators_shares_hold_while_any_version_is_ready() -> None:
    shared = Overrides(shares={"m": {"1": 70, "2": 30}})
    both = (worker(1, state("m", "1")), worker(2, state("m", "2"), state("m", "3")))
    assert shares(route(*both, overrides=shared)) == {"3": 0, "2": 30, "1": 70}
    assert shares(route(both[0], overrides=shared)) == {"2": 30, "1": 70}
    assert shares(route(worker(1, state("m", ready=False)), overrides=shared)) == {"2": 0, "1": 0}


def test_a_change_raises_the_revision_by_one_and_no_change_gives_the_same_table() -> None:
    first = route(worker(1, state("m")))
    assert (first.revision, first.changed_at) == (2, LATER)
    assert route(worker(1, state("m")), previous=first) is first
    assert route(worker(1, state("m"), reachable=False), previous=first).revision == 3


def test_weights_split_a_versions_share_among_its_workers() -> None:
    shared = Overrides(shares={"m": {"1": 90, "2": 10}})
    table = route(
        worker(1, state("m", "1")),
        worker(2, state("m", "2")),
        worker(3, state("m", "2")),
        worker(4, state("m", "3")),
        overrides=shared,
    )
    assert [(each.address, each.weight) for each in endpoints(table)["m"]] == [
        ("10.0.0.1:1", 9000),
        ("10.0.0.2:1", 500),
        ("10.0.0.3:1", 500),
    ]


def test_a_worker_whose_name_does_not_resolve_gets_no_tensors() -> None:
    lost = WorkerState("w1:1", "", reachable=True, models=(state("m"),))
    assert endpoints(route(lost)) == {"m": ()}


states = st.builds(state, st.sampled_from("mn"), st.sampled_from(["1", "2", "10"]), ready=st.booleans())
some_workers = st.lists(
    st.tuples(st.lists(states, max_size=4), st.booleans(), st.booleans()), max_size=4
).map(
    lambda found: [
        worker(number, *models, reachable=reachable, draining=draining)
        for number, (models, reachable, draining) in enumerate(found, 1)
    ]
)
some_overrides = st.builds(
    Overrides,
    shares=st.dictionaries(st.sampled_from("mn"), st.sampled_from([{"1": 100}, {"1": 60, "2": 40}])),
    drained=st.frozensets(st.sampled_from(["w1:1", "w2:1"])),
)


@given(some_workers, some_overrides)
def test_whatever_workers_say_only_open_ones_are_routed_to(
    found: list[WorkerState], overrides: Overrides
) -> None:
    table = route(*found, overrides=overrides)
    open_ones = {each.address for each in table.workers if each.reachable and not each.drained}
    for model in table.models:
        assert sum(version.traffic_percent for version in model.versions) in {0, 100}
        for version in model.versions:
            assert set(version.workers) <= open_ones
    assert route(*found, overrides=overrides, previous=table) is table
