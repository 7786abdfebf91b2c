"""What metrics tell of an engine's steps."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.inference_worker.footprint import Footprint
from services.inference_worker.model import Model
from services.inference_worker.preparation import Prepared
from services.inference_worker.step_metrics import StepMetrics
from services.inference_worker.ways import Way
from services.inference_worker.wire import Batch, Load, Report
from services.store.spec import ModelSpec, Task


class Metrics:
    """Step metrics with a model, and a reader of them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._steps = StepMetrics(MeterProvider([self._reader]).get_meter("test"))
        self._model = Model(ModelSpec("chat", "file:///m", Task.GENERATE), "q4")
        self._model.prepared = Prepared(Path("/m"), Way("q4", "amx"), "", (), Footprint(1, 1, 1))

    def hear(self, load: Load, **step: object) -> None:
        self._steps.heard(self._model, Report("chat@1", 1, load, **step))  # type: ignore[arg-type]

    def points(self) -> dict[str, object]:
        """Return a counter's value and a histogram's count and sum, by the ends of their names."""
        data = self._reader.get_metrics_data()
        found: dict[str, object] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            (point,) = metric.data.data_points
            assert point.attributes == {
                "gen_ai.request.model": "chat",
                "trunkline.model.version": "1",
                "trunkline.model.runner": "native",
                "trunkline.model.precision": "q4",
            }
            name = metric.name.removeprefix("trunkline.model.")
            found[name] = point.value if hasattr(point, "value") else (point.count, point.sum)  # type: ignore[union-attr]
        return found


def test_a_step_is_recorded_with_its_time_and_its_tokens():
    metrics = Metrics()
    metrics.hear(Load(), rows=8, seconds=0.25)
    metrics.hear(Load(), rows=40, seconds=0.5)
    metrics.hear(Load())
    assert metrics.points() == {"step.duration": (2, 0.75), "step.tokens": (2, 48)}


def test_a_batch_of_an_encoder_is_a_step():
    metrics = Metrics()
    metrics.hear(Load(), batch=Batch([1], 3, 90, 10.0, 10.5))
    assert metrics.points() == {"step.duration": (1, 0.5), "step.tokens": (1, 90)}


def test_counters_go_on_when_an_engine_begins_anew():
    metrics = Metrics()
    first = Load(cached_tokens_hit=512, preemptions=2, drafted_tokens=40, accepted_draft_tokens=30)
    for load in (first, first, Load(), Load(cached_tokens_hit=16, drafted_tokens=4)):
        metrics.hear(load)
    assert metrics.points() == {
        "cached_prompt_tokens": 528,
        "preemptions": 2,
        "drafted_tokens": 44,
        "accepted_draft_tokens": 30,
    }
