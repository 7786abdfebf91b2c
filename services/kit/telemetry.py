"""Telemetry of a process: a tracer, a meter and logs, started once and handed to whoever needs them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from threading import Thread
from time import monotonic
from typing import Self

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracer, Tracer

from services.kit import logs, process_metrics, semconv
from services.kit.call_span import CallSpans
from services.kit.linked_sampling import LinkedOr
from services.kit.logs import LogFormat, LogLevel
from services.kit.mesh import entry
from services.kit.otlp import MetricOutlet, SpanOutlet
from services.kit.settings import setting

CLOSE_LIMIT_S = 2.0

_SCOPE = "trunkline"


@dataclass(frozen=True)
class TelemetrySettings:
    """Where telemetry goes, how often, and how much of it."""

    monitor: str = setting(
        entry("monitor").address,
        "The monitor's address: takes metrics, and traces where no endpoint is set. Empty: sends nothing.",
    )
    traces_endpoint: str = setting(
        "",
        "Where traces go by OTLP over gRPC instead of the monitor.",
        env="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    )
    trace_ratio: float = setting(0.01, "The share of traces begun here that are recorded.", unit="0 to 1")
    spans_interval_s: float = setting(0.2, "How long a span waits to be sent.", unit="seconds")
    metrics_interval_s: float = setting(1.0, "How often metrics are sent.", unit="seconds")
    instance: str = setting("", "This process's name among its kind. Empty: HOST:PID.")
    log_level: LogLevel = setting(LogLevel.INFO, "The least level that is logged.")
    log_format: LogFormat = setting(LogFormat.AUTO, "json, text or auto (text on a terminal).")

    def __post_init__(self) -> None:
        if not 0 <= self.trace_ratio <= 1:
            raise ValueError(f"TRUNKLINE_TRACE_RATIO must be from 0 to 1, not {self.trace_ratio}")
        if min(self.spans_interval_s, self.metrics_interval_s) <= 0:
            raise ValueError("TRUNKLINE_SPANS_INTERVAL_S and TRUNKLINE_METRICS_INTERVAL_S must be above 0")


class Telemetry:
    """A tracer and a meter. `close` (or leaving the `with`) sends what waits; within CLOSE_LIMIT_S."""

    def __init__(
        self,
        tracer: Tracer,
        meter: Meter,
        *,
        instance: str = "",
        calls: CallSpans | None = None,
        closing: tuple[Callable[[], object], ...] = (),
    ) -> None:
        self.tracer = tracer
        self.meter = meter
        self.instance = instance or f"{socket.gethostname()}:{os.getpid()}"
        """This process's name among its kind: its `service.instance.id`."""
        self.start_call = calls.start if calls else tracer.start_span
        """Begins the span of an rpc: (name, parent context, kind, attributes)."""
        self._closing = closing

    @classmethod
    def start(cls, service: str, settings: TelemetrySettings) -> Self:
        """Set up logs and return this process's telemetry; `service` is its name in the mesh's table."""
        logs.configure(settings.log_level, settings.log_format)
        traces = settings.traces_endpoint or settings.monitor
        processor = traces and BatchSpanProcessor(
            SpanOutlet(traces),
            max_queue_size=8_192,
            schedule_delay_millis=settings.spans_interval_s * 1e3,
            max_export_batch_size=512,
        )
        reader = settings.monitor and PeriodicExportingMetricReader(
            MetricOutlet(settings.monitor), export_interval_millis=settings.metrics_interval_s * 1e3
        )
        return cls.of(
            resource(service, settings.instance),
            processor=processor or None,
            reader=reader or None,
            trace_ratio=settings.trace_ratio,
        )

    @classmethod
    def of(
        cls,
        resource: Resource,
        *,
        processor: SpanProcessor | None = None,
        reader: MetricReader | None = None,
        trace_ratio: float = 1.0,
    ) -> Self:
        """Return telemetry that hands spans to `processor` and metrics to `reader`; None drops them."""
        root = LinkedOr(TraceIdRatioBased(trace_ratio)) if processor else ALWAYS_OFF
        tracers = TracerProvider(sampler=ParentBased(root), resource=resource, shutdown_on_exit=False)
        if processor:
            tracers.add_span_processor(processor)
        calls = CallSpans(processor, resource, InstrumentationScope(_SCOPE), trace_ratio)
        tracer = tracers.get_tracer(_SCOPE)
        instance = str(resource.attributes.get(semconv.SERVICE_INSTANCE_ID, ""))
        if reader is None:
            silent = NoOpMeter(_SCOPE)
            return cls(tracer, silent, instance=instance, calls=calls, closing=(tracers.shutdown,))
        meters = MeterProvider(
            metric_readers=[reader],
            resource=resource,
            shutdown_on_exit=False,
            exemplar_filter=AlwaysOffExemplarFilter(),
            views=[_SECONDS],
        )
        meter = meters.get_meter(_SCOPE)
        process_metrics.observe(meter)
        closing = (tracers.shutdown, meters.shutdown)
        return cls(tracer, meter, instance=instance, calls=calls, closing=closing)

    @classmethod
    def disabled(cls) -> Self:
        """Return telemetry that records and sends nothing; trace contexts still pass through."""
        return cls(NoOpTracer(), NoOpMeter(_SCOPE))

    def close(self) -> None:
        """Send what waits and stop, within CLOSE_LIMIT_S even where no receiver answers. Idempotent."""
        closing, self._closing = self._closing, ()
        threads = [Thread(target=each, daemon=True, name="telemetry-close") for each in closing]
        for thread in threads:
            thread.start()
        deadline = monotonic() + CLOSE_LIMIT_S
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def resource(service: str, instance: str = "") -> Resource:
    """Return who this process is; `OTEL_RESOURCE_ATTRIBUTES` adds to it."""
    host = socket.gethostname()
    return Resource.create(
        {
            semconv.SERVICE_NAME: service,
            semconv.SERVICE_NAMESPACE: "trunkline",
            semconv.SERVICE_INSTANCE_ID: instance or f"{host}:{os.getpid()}",
            semconv.SERVICE_VERSION: version("trunkline"),
            semconv.HOST_NAME: host,
            semconv.PROCESS_PID: os.getpid(),
        }
    )


_SECONDS = View(
    instrument_type=Histogram,
    instrument_unit="s",
    aggregation=ExplicitBucketHistogramAggregation(semconv.DURATION_BUCKETS_S),
)
