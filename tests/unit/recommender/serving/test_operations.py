"""Versions, gates, retraining by policy, experiments, watches: what changes under those who are served."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from services.kit.errors import FailedPrecondition, InvalidArgument, NotFound
from services.kit.settings import SettingsError
from services.recommender.entities import Event
from services.recommender.serving.configuration import Configuration
from services.recommender.serving.gate import check
from services.recommender.serving.operations import Gate, Policy, TrainRequest
from services.recommender.serving.query import Query
from services.recommender.store.experiments import Experiment, Variant
from tests.unit.recommender.serving.worlds import World, film, opened, populated

PATIENCE_S = 120.0


async def test_before_any_training_a_history_speaks_by_content(tmp_path: Path):
    async with populated(tmp_path) as world:
        made = await world.serving.recommender.recommend(Query("war-viewer-0", max_results=5))
        assert made.fallback == "no_model"
        assert all(each.item_id.startswith("war") for each in made.items)


async def test_versions_swap_roll_back_and_survive_a_restart(tmp_path: Path):
    async with populated(tmp_path) as world:
        first, second = await world.train(), await world.train(["ials"])
        assert world.serving.versions.live == second
        assert await world.serving.versions.rollback() == first
        await world.serving.versions.promote(second)
    async with opened(tmp_path) as world:
        assert world.serving.versions.live == second
    (tmp_path / "models" / second / "ials.safetensors").write_bytes(b"broken")
    async with opened(tmp_path) as world:
        assert world.serving.versions.live == first
        with pytest.raises(FailedPrecondition):
            await world.serving.versions.promote(second)
        with pytest.raises(NotFound):
            await world.serving.versions.promote("unheard-of")


async def test_a_gate_keeps_a_version_from_serving(tmp_path: Path):
    async with populated(tmp_path) as world:
        request = TrainRequest(("ease",), gate=Gate("ndcg@5", at_least=1.1))
        begun = world.serving.retraining.train(request)
        done = await world.serving.retraining.wait(begun.operation_id)
        assert (done.state, done.promoted) == ("succeeded", False)
        assert "ndcg@5" in done.refused
        assert world.serving.versions.live == ""


def test_gates_compare_with_the_live_version():
    gate = Gate("ndcg@10", max_drop=0.1)
    check(gate, {"ndcg@10": 0.46}, {"ndcg@10": 0.5})
    check(gate, {"ndcg@10": 0.46}, {})
    with pytest.raises(FailedPrecondition):
        check(gate, {"ndcg@10": 0.44}, {"ndcg@10": 0.5})
    with pytest.raises(FailedPrecondition):
        check(gate, {}, {})
    check(Gate("rmse", at_least=0.95), {"rmse": 0.9}, {})
    with pytest.raises(FailedPrecondition):
        check(Gate("rmse", max_drop=0.01), {"rmse": 1.0}, {"rmse": 0.9})


async def test_enough_new_events_begin_a_training(tmp_path: Path):
    async with populated(tmp_path) as world:
        await world.serving.retraining.set_policy(Policy(every_events=2))
        await world.see("somebody", "war-1", "war-2")
        (begun,) = world.serving.retraining.operations()
        assert begun.cause == "events"
        async with asyncio.timeout(PATIENCE_S):
            await world.serving.retraining.wait(begun.operation_id)
        assert world.serving.versions.live == begun.version
    async with opened(tmp_path) as world:
        assert world.serving.retraining.policy == Policy(every_events=2)


async def test_an_operation_can_be_ended_and_a_failure_has_a_sentence(tmp_path: Path):
    async with opened(tmp_path) as world:
        retraining = world.serving.retraining
        first, second = retraining.train(TrainRequest()), retraining.train(TrainRequest())
        assert (await retraining.cancel(second.operation_id)).state == "cancelled"
        failed = await retraining.wait(first.operation_id)
        assert failed.state == "failed"
        assert failed.error
        with pytest.raises(NotFound):
            retraining.operation("unheard-of")
        with pytest.raises(InvalidArgument):
            await retraining.set_policy(Policy(ctr_drop=2.0))


async def test_an_experiment_reports_what_its_variants_led_to(tmp_path: Path):
    async with populated(tmp_path) as world:
        variants = (Variant("control"), Variant("new", scenario="popular"))
        experiments = world.serving.experiments
        await experiments.create(Experiment("e", "default", variants))
        with pytest.raises(NotFound):
            await experiments.create(Experiment("f", "unheard-of", variants))
        clicks = 0
        for viewer in range(20):
            user_id = f"war-viewer-{viewer}"
            made = await world.serving.recommender.recommend(Query(user_id, record_impression=True))
            assert made.experiment == "e"
            if made.variant == "new":
                clicks += 1
                clicked = made.items[0].item_id
                event = Event(
                    f"c{viewer}", "click", clicked, user_id, recommendation_id=made.recommendation_id
                )
                await world.store.log.append([event])
        report = await experiments.report("e")
        control, new = report.variants
        assert control.units + new.units == 20
        assert (control.clicks, new.clicks) == (0, clicks)
        assert new.ctr.value == 1.0
        assert new.ctr_difference is not None
        assert new.ctr_difference.low > 0
        assert not report.sample_ratio_broken
        metrics = await world.serving.online.report(("variant",))
        assert {each.variant: each.clicks for each in metrics} == {"control": 0, "new": clicks}
        with pytest.raises(InvalidArgument):
            await world.serving.online.report(("moon",))
        await experiments.stop("e")
        assert (await world.serving.recommender.recommend(Query("war-viewer-0"))).experiment == ""


async def test_a_watch_tells_of_each_list_that_differs(world: World):
    async with (
        aclosing(world.serving.watch.lists(Query("watched", max_results=5))) as lists,
        asyncio.timeout(PATIENCE_S),
    ):
        assert (await anext(lists)).fallback == "cold_start"
        await world.see("watched", "war-1", "war-2")
        made = await anext(lists)
        assert made.fallback == ""
        gone = made.items[0].item_id
        await world.store.catalogue.hide([gone])
        assert gone not in [each.item_id for each in (await anext(lists)).items]


async def test_an_erased_user_is_unknown_again(world: World, tmp_path: Path):
    recommend = world.serving.recommender.recommend
    known = await recommend(Query("war-viewer-0", record_impression=True))
    receipt = await world.store.users.erase("war-viewer-0")
    assert receipt.versions == (world.serving.versions.live,)
    assert receipt.rows["events"] == 6
    after = await recommend(Query("war-viewer-0"))
    assert (known.fallback, after.fallback) == ("", "cold_start")
    similar = await world.serving.recommender.similar_users("war-viewer-1", 50)
    assert similar
    assert "war-viewer-0" not in [each.user_id for each in similar]
    assert not [path for path in (tmp_path / "world" / "models").rglob("*") if b"viewer" in _content(path)]


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


async def test_scenarios_come_from_the_configuration(tmp_path: Path):
    file = tmp_path / "recommender.toml"
    file.write_text(
        """
        [events.view]
        weight = 2.0
        [scenarios.cheap]
        filter = "price < 3"
        fallback = ["latest"]
        caps = { studio = 1 }
        """
    )
    async with populated(tmp_path, Configuration.read(str(file))) as world:
        query = Query("nobody-yet", scenario="cheap", max_results=4)
        made = await world.serving.recommender.recommend(query)
        assert [each.item_id for each in made.items] == ["war-2", "war-1", "war-0"]
        assert {each.source for each in made.items} == {"latest"}


@pytest.mark.parametrize(
    "text",
    [
        "scenarios = 3",
        "[scenarios.a]\nsources = {}",
        "[scenarios.a]\nblend = 'sum'",
        "[scenarios.a]\nfilter = 'price <'",
        "[scenarios.a]\nfallback = ['moon']",
        "[events.view]\nmoon = 1",
        "[moon]",
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "recommender.toml"
    file.write_text(text)
    with pytest.raises(SettingsError):
        Configuration.read(str(file))


async def test_an_upserted_item_is_there_in_the_next_list(tmp_path: Path):
    async with populated(tmp_path) as world:
        await world.store.catalogue.upsert([film("war", 50, timestamp=9_999.0)])
        made = await world.serving.recommender.recommend(Query("newcomer", max_results=40))
        assert "war-50" in [each.item_id for each in made.items]
