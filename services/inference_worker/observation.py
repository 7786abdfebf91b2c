"""What telemetry learns of the engines' work: spans made from their timings, durations and counts.

The engines themselves know nothing of OpenTelemetry; they say when things happened, by the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, set_span_in_context
from opentelemetry.util.types import AttributeValue

from services.inference_worker.model import Model
from services.inference_worker.step_metrics import StepMetrics
from services.inference_worker.wire import Batch, Report, Timings
from services.kit import semconv
from services.kit.telemetry import Telemetry

_LINK_LIMIT = 128  # the SDK keeps this many links of a span and drops the rest unseen


@dataclass
class Waiting:
    """A request that an engine has: its call's span, and when it was accepted (CLOCK_MONOTONIC)."""

    span: Span
    accepted: float
    batched: bool = False
    """Whether a batch has held any of it."""

    @property
    def traced(self) -> bool:
        """Whether its trace is recorded: few are, and making spans for the others would cost them time."""
        return self.span.get_span_context().trace_flags.sampled


class Observation:
    """Owns the instruments, and knows the calls under way."""

    def __init__(self, telemetry: Telemetry) -> None:
        histogram, counter = telemetry.meter.create_histogram, telemetry.meter.create_counter
        self._tracer = telemetry.tracer
        self._under_way: dict[int, Waiting] = {}
        self._steps = StepMetrics(telemetry.meter)
        self._duration = histogram(
            semconv.GEN_AI_SERVER_REQUEST_DURATION, unit="s", description="Acceptance to last token"
        )
        self._first = histogram(
            semconv.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN, unit="s", description="Acceptance to first token"
        )
        self._each = histogram(
            semconv.GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN, unit="s", description="Each token after the first"
        )
        self._read = counter(semconv.MODEL_PROMPT_TOKENS, unit="{token}", description="Prompt tokens read")
        self._made = counter(semconv.MODEL_GENERATED_TOKENS, unit="{token}", description="Tokens made")

    def open(self, request_id: int, accepted: float, span: Span | None = None) -> Waiting:
        """Keep a call until `close`; without its `span` it is the one being handled."""
        waiting = self._under_way[request_id] = Waiting(span or trace.get_current_span(), accepted)
        return waiting

    def close(self, request_id: int) -> None:
        """Forget a call."""
        self._under_way.pop(request_id, None)

    def first_token(self, waiting: Waiting) -> None:
        """Mark the first token in the call's span."""
        waiting.span.add_event(semconv.FIRST_TOKEN)

    def generated(self, model: Model, waiting: Waiting, prompt: int, made: int, timings: Timings) -> None:
        """Record a finished Generate of `prompt` tokens that made `made`: its metrics, and a span a stage."""
        attributes = _attributes(model, "text_completion")
        self._duration.record(timings.ended - waiting.accepted, attributes)
        self._first.record(timings.first_token - waiting.accepted, attributes)
        if made > 1:
            self._each.record((timings.ended - timings.first_token) / (made - 1), attributes)
        self._read.add(prompt, attributes)
        self._made.add(made, attributes)
        if not waiting.traced:
            return
        times = (waiting.accepted, timings.started, timings.first_token, timings.ended)
        stages: Sequence[tuple[str, Mapping[str, int]]] = (
            (semconv.SPAN_ENGINE_QUEUE, {}),
            (semconv.SPAN_ENGINE_PREFILL, {semconv.GEN_AI_USAGE_INPUT_TOKENS: prompt}),
            (semconv.SPAN_ENGINE_DECODE, {semconv.GEN_AI_USAGE_OUTPUT_TOKENS: made}),
        )
        parent = set_span_in_context(waiting.span)
        for index, (name, extra) in enumerate(stages):
            attributes = {semconv.DEVICE: model.device, **extra}
            self._span(name, parent, times[index : index + 2], attributes=attributes)

    def embedded(self, model: Model, waiting: Waiting, tokens: int, timings: Timings) -> None:
        """Record a finished Embed of `tokens` tokens."""
        attributes = _attributes(model, "embeddings")
        self._duration.record(timings.ended - waiting.accepted, attributes)
        self._read.add(tokens, attributes)

    def heard(self, model: Model, report: Report) -> None:
        """Record a step; if it was a batch, as a trace of its own, and each of its calls' wait for it."""
        self._steps.heard(model, report)
        if report.batch is None:
            return
        batch = report.batch
        under_way = (self._under_way.get(each) for each in batch.requests)
        calls = [waiting for waiting in under_way if waiting is not None and waiting.traced]
        if not calls:
            return
        executed = self._executed(model, batch, calls)
        for waiting in calls:
            if not waiting.batched:
                waiting.batched = True
                links = [Link(executed)] if executed.is_valid else []
                parent, times = set_span_in_context(waiting.span), (waiting.accepted, batch.started)
                self._span(semconv.SPAN_BATCH_WAIT, parent, times, links=links)

    def _executed(self, model: Model, batch: Batch, calls: Sequence[Waiting]) -> SpanContext:
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_REQUEST_MODEL: model.spec.name,
            semconv.DEVICE: model.device,
            semconv.BATCH_SIZE: batch.inputs,
            semconv.GEN_AI_USAGE_INPUT_TOKENS: batch.tokens,
        }
        links = [Link(call.span.get_span_context(), {semconv.BATCH_SLOT: n}) for n, call in enumerate(calls)]
        # An empty context: a batch belongs to no one of its calls.
        return self._span(
            semconv.SPAN_BATCH_EXECUTE,
            Context(),
            (batch.started, batch.ended),
            links=links[:_LINK_LIMIT],
            attributes=attributes,
        )

    def _span(
        self,
        name: str,
        parent: Context,
        times: Sequence[float],
        *,
        links: Sequence[Link] = (),
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> SpanContext:
        """Make a span from one time of CLOCK_MONOTONIC to another; return what others link to it by."""
        began, ended = map(_since_epoch, times)
        span = self._tracer.start_span(name, parent, links=links, attributes=attributes, start_time=began)
        span.end(ended)
        return span.get_span_context()


def _attributes(model: Model, operation: str) -> dict[str, AttributeValue]:
    return {
        semconv.GEN_AI_OPERATION_NAME: operation,
        semconv.GEN_AI_REQUEST_MODEL: model.spec.name,
        semconv.MODEL_VERSION: model.spec.version,
    }


def _since_epoch(monotonic: float) -> int:
    """Return a time of CLOCK_MONOTONIC as nanoseconds of the calendar."""
    return time.time_ns() - round((time.monotonic() - monotonic) * 1e9)
