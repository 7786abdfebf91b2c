"""Versions, evaluations, experiments and policies through the port."""

from __future__ import annotations

import numpy as np
import pytest
from trunkline.recommender.v1.evaluation_pb2 import EvaluateRequest
from trunkline.recommender.v1.experiments_pb2 import (
    CreateExperimentRequest,
    EndExperimentRequest,
    Experiment,
    GetExperimentReportRequest,
    GetOnlineMetricsRequest,
    ListExperimentsRequest,
    Variant,
)
from trunkline.recommender.v1.models_pb2 import (
    STAGE_SERVING,
    Algorithm,
    ExportInteractionsRequest,
    Gate,
    GetTrainingRequest,
    ItemFactors,
    ListModelsRequest,
    PromoteRequest,
    PublishedModel,
    PublishModelRequest,
    RetrainPolicy,
    RollbackRequest,
    SetRetrainPolicyRequest,
    TrainRequest,
)
from trunkline.recommender.v1.recommendations_pb2 import PredictRatingRequest

from tests.contract.recommender.serving import Serving, event, recommend, record, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_evaluation_names_its_metrics_over_the_seeds(trained: Serving):
    request = EvaluateRequest(algorithms=[Algorithm(kind="ease")], seeds=[1, 2], k=5)
    answer = await trained.stub.Evaluate(request, timeout=200)
    assert len(answer.metrics["ndcg@5"].per_seed) == 2
    assert 0 < answer.metrics["ndcg@5"].mean <= 1


async def test_an_evaluation_that_cannot_be_is_refused(trained: Serving):
    for request in (
        EvaluateRequest(protocol="dice"),
        EvaluateRequest(algorithms=[Algorithm(kind="oracle")]),
        EvaluateRequest(algorithms=[Algorithm(kind="ease", parameters={"luck": 1})]),
        EvaluateRequest(seeds=[1, 1]),
    ):
        assert (await refusal(trained.stub.Evaluate(request))).code == "INVALID_ARGUMENT"


async def test_a_training_is_begun_once_for_a_request_id(trained: Serving):
    first = TrainRequest(request_id="twice", algorithms=[Algorithm(kind="popularity")], promote=False)
    begun = (await trained.stub.Train(first)).training
    assert (await trained.stub.Train(first)).training.training_id == begun.training_id
    other = TrainRequest(request_id="twice", algorithms=[Algorithm(kind="ease")])
    assert (await refusal(trained.stub.Train(other))).code == "ALREADY_EXISTS"
    known = await trained.stub.GetTraining(GetTrainingRequest(training_id=begun.training_id))
    assert known.training.training_id == begun.training_id
    error = await refusal(trained.stub.GetTraining(GetTrainingRequest(training_id="none")))
    assert str(error.reason) == "TRAINING_NOT_FOUND"


async def test_published_factors_serve_and_are_rolled_back(trained: Serving):
    stub = trained.stub
    before = (await stub.ListModels(ListModelsRequest())).versions
    live = next(each.version for each in before if each.stage == STAGE_SERVING)
    factors = np.random.default_rng(0).standard_normal((30, 4)).astype("<f4")

    async def requests():
        yield PublishModelRequest(
            model=PublishedModel(version="spark-1", origin="spark-als", dimensions=4, promote=True)
        )
        item_ids = [f"f{number}" for number in range(30)]
        yield PublishModelRequest(factors=ItemFactors(item_ids=item_ids, factors=factors.tobytes()))

    published = (await stub.PublishModel(requests())).version
    assert (published.version, published.stage, published.origin) == ("spark-1", STAGE_SERVING, "spark-als")
    assert (await recommend(stub, "u0")).provenance.model_version == "spark-1"
    assert (await refusal(stub.PublishModel(requests()))).code == "ALREADY_EXISTS"
    stale = await refusal(stub.Rollback(RollbackRequest(version=live)))
    assert stale.code == "ABORTED"
    assert (await stub.Rollback(RollbackRequest(version="spark-1"))).version.version == live
    assert (await recommend(stub, "u0")).provenance.model_version == live


async def test_a_gate_keeps_a_version_from_serving(trained: Serving):
    live = (await recommend(trained.stub, "u0")).provenance.model_version
    gate = Gate(metric="ndcg@10", at_least=2.0)
    error = await refusal(trained.stub.Promote(PromoteRequest(version=live, gate=gate)))
    assert str(error.reason) == "GATE_FAILED"
    error = await refusal(trained.stub.Promote(PromoteRequest(version="never")))
    assert str(error.reason) == "VERSION_NOT_FOUND"


async def test_a_policy_is_kept(trained: Serving):
    policy = RetrainPolicy(every_events=1_000_000, promote=False)
    answer = await trained.stub.SetRetrainPolicy(SetRetrainPolicyRequest(policy=policy))
    assert answer.policy == policy


async def test_interactions_are_exported_in_columns(trained: Serving):
    rows = 0
    async for part in trained.stub.ExportInteractions(ExportInteractionsRequest()):
        assert len(part.user_ids) == len(part.item_ids) == len(part.weights) == len(part.times)
        rows += len(part.user_ids)
    assert rows > 400


async def test_an_experiment_answers_by_its_variants_and_reports(trained: Serving):
    stub = trained.stub
    experiment = Experiment(
        name="home", scenario="default", variants=[Variant(name="a"), Variant(name="b", scenario="popular")]
    )
    await stub.CreateExperiment(CreateExperimentRequest(experiment=experiment))
    shown = {}
    for number in range(20):
        answer = await recommend(stub, f"u{number}", 3, record_impressions=True)
        shown[f"u{number}"] = answer
    assert {each.provenance.variant for each in shown.values()} == {"a", "b"}
    again = await recommend(stub, "u0", 3)
    assert again.provenance.variant == shown["u0"].provenance.variant
    clicked = shown["u0"]
    await record(
        stub,
        [
            event(
                "u0",
                clicked.items[0].item_id,
                "click",
                recommendation_id=clicked.provenance.recommendation_id,
                position=1,
            )
        ],
    )
    report = await stub.GetExperimentReport(GetExperimentReportRequest(name="home"))
    assert sum(each.impressions for each in report.variants) == 20
    assert sum(each.clicks for each in report.variants) == 1
    metrics = await stub.GetOnlineMetrics(GetOnlineMetricsRequest(group_by=["variant"]))
    assert sum(each.impressions for each in metrics.metrics) == 60
    assert [each.name for each in (await stub.ListExperiments(ListExperimentsRequest())).experiments] == [
        "home"
    ]
    ended = await stub.EndExperiment(EndExperimentRequest(name="home"))
    assert ended.experiment.ended_at.seconds
    assert not (await recommend(stub, "u0", 3)).provenance.variant


async def test_values_are_not_predicted_without_a_model_of_values(trained: Serving):
    request = PredictRatingRequest(user_id="u0", item_ids=["f0"])
    error = await refusal(trained.stub.PredictRating(request))
    assert (error.code, str(error.reason)) == ("FAILED_PRECONDITION", "MODEL_NOT_TRAINED")
