"""A quiet way out for telemetry: a dead or frozen receiver slows nothing and fills nothing here.

The SDK's own exporters retry for seconds and log each failure. These send once, within a time limit, drop
what cannot be sent, wait a moment after a failure, and say so once an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

SEND_TIMEOUT_S = 1.0
PAUSE_S = 1.0
OUTAGE_S = 10.0

_LOGGER = logging.getLogger(__name__)
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
)
_DELTA: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA
)


class Outlet:
    """One rpc of one receiver, used by one thread at a time. `endpoint` is `host:port` or `http(s)://host:port`."""

    def __init__(self, endpoint: str, rpc: str) -> None:
        url = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        self._endpoint = endpoint
        self._channel = (
            grpc.secure_channel(url.netloc, grpc.ssl_channel_credentials(), options=_OPTIONS)
            if url.scheme == "https"
            else grpc.insecure_channel(url.netloc, options=_OPTIONS)
        )
        self._export: Any = self._channel.unary_unary(rpc, request_serializer=_serialize)
        self._pause_until = 0.0
        self._failing_since: float | None = None

    def send(self, message: Message) -> bool:
        """Return whether the receiver took `message`, within SEND_TIMEOUT_S; never raises for a peer."""
        if monotonic() < self._pause_until:
            return False
        try:
            self._export(message, timeout=SEND_TIMEOUT_S)
        except (grpc.RpcError, ValueError):  # ValueError: the channel was closed meanwhile
            self._failed()
            return False
        self._failing_since = None
        return True

    def close(self) -> None:
        """Close the channel; a send in flight ends at once."""
        self._channel.close()

    def _failed(self) -> None:
        now = monotonic()
        self._pause_until = now + PAUSE_S
        if self._failing_since is None:
            self._failing_since = now
        elif 0 < self._failing_since < now - OUTAGE_S:
            _LOGGER.warning(
                "telemetry is dropped: its receiver does not answer", extra={"to": self._endpoint}
            )
            self._failing_since = -1.0


class SpanOutlet(SpanExporter):
    """Sends spans by OTLP."""

    def __init__(self, endpoint: str) -> None:
        self._outlet = Outlet(endpoint, TRACES)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send `spans` once."""
        sent = self._outlet.send(encode_spans(spans))
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the channel."""
        self._outlet.close()


class MetricOutlet(MetricExporter):
    """Sends metrics by OTLP: sums and histograms as deltas, everything else as it stands."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(preferred_temporality=_DELTA)
        self._outlet = Outlet(endpoint, METRICS)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:  # noqa: ARG002 - the SDK's signature
        """Send `metrics_data` once."""
        sent = self._outlet.send(encode_metrics(metrics_data))
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 0) -> bool:  # noqa: ARG002 - the SDK's signature
        """Return True: nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:  # noqa: ARG002 - the SDK's signature
        """Close the channel."""
        self._outlet.close()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
