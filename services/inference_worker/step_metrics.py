"""What telemetry learns of steps: how long and how large they are, what prefix cache and drafts save."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.metrics import Counter, Meter
from opentelemetry.util.types import AttributeValue

from services.inference_worker.model import Model
from services.inference_worker.wire import Load, Report
from services.kit import semconv


class _Counts(NamedTuple):
    """What a model's engine has counted since it was loaded."""

    cached: int = 0
    preemptions: int = 0
    drafted: int = 0
    accepted: int = 0

    @classmethod
    def of(cls, load: Load) -> _Counts:
        return cls(load.cached_tokens_hit, load.preemptions, load.drafted_tokens, load.accepted_draft_tokens)


class StepMetrics:
    """Owns the instruments. `heard` is told of every report of an engine, in their order."""

    def __init__(self, meter: Meter) -> None:
        histogram, counter = meter.create_histogram, meter.create_counter
        self._duration = histogram(
            semconv.MODEL_STEP_DURATION, unit="s", description="A step's time in its runner"
        )
        self._tokens = histogram(
            semconv.MODEL_STEP_TOKENS, unit="{token}", description="Tokens that a step computed"
        )
        self._counters = _counters(counter)
        self._last: dict[str, _Counts] = {}

    def heard(self, model: Model, report: Report) -> None:
        """Record a step; an engine that begins to count anew has just loaded the model again."""
        attributes = _attributes(model)
        rows, seconds = report.rows, report.seconds
        if report.batch is not None:
            rows, seconds = report.batch.tokens, report.batch.ended - report.batch.started
        if rows:
            self._duration.record(seconds, attributes)
            self._tokens.record(rows, attributes)
        counts, last = _Counts.of(report.load), self._last.get(model.key, _Counts())
        if counts == last:
            return
        self._last[model.key] = counts
        for counter, now, before in zip(self._counters, counts, last, strict=True):
            if now != before:
                counter.add(now - before if now > before else now, attributes)


def _counters(counter: Callable[..., Counter]) -> tuple[Counter, ...]:
    """Return the counters of `_Counts`, in its order."""
    return (
        counter(
            semconv.MODEL_CACHED_PROMPT_TOKENS,
            unit="{token}",
            description="Prompt tokens from the prefix cache",
        ),
        counter(semconv.MODEL_PREEMPTIONS, unit="{request}", description="Requests that gave up their cache"),
        counter(semconv.MODEL_DRAFTED_TOKENS, unit="{token}", description="Tokens drafted by prompt lookup"),
        counter(
            semconv.MODEL_ACCEPTED_DRAFT_TOKENS, unit="{token}", description="Drafted tokens that were right"
        ),
    )


def _attributes(model: Model) -> dict[str, AttributeValue]:
    way = model.prepared.way if model.prepared else None
    return {
        semconv.GEN_AI_REQUEST_MODEL: model.spec.name,
        semconv.MODEL_VERSION: model.spec.version,
        semconv.MODEL_RUNNER: way.runner if way else "",
        semconv.MODEL_PRECISION: model.dtype,
    }
