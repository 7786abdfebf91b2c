"""What Prometheus and Jaeger are told is what the mesh has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from services.kit.mesh import MONITOR_HTTP_PORT
from tests.contract.deploy.files import ROOT, compose

SERVICES = compose()["services"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
JAEGER: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "jaeger.yml").read_text())


def test_prometheus_scrapes_the_monitor_of_the_compose_file():
    (job,) = PROMETHEUS["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in SERVICES
    assert int(port) == MONITOR_HTTP_PORT


def test_prometheus_waits_no_longer_than_it_scrapes():
    every = PROMETHEUS["global"]
    assert float(every["scrape_timeout"].rstrip("s")) <= float(every["scrape_interval"].rstrip("s"))


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_jaegers_pipeline_is_made_of_what_is_configured(kind: str):
    (pipeline,) = JAEGER["service"]["pipelines"].values()
    assert set(pipeline[kind]) == set(JAEGER[kind])


def test_jaegers_extensions_are_configured():
    assert set(JAEGER["service"]["extensions"]) == set(JAEGER["extensions"])


def test_jaeger_reads_from_where_it_writes():
    backends = set(JAEGER["extensions"]["jaeger_storage"]["backends"])
    written = JAEGER["exporters"]["jaeger_storage_exporter"]["trace_storage"]
    assert {written, JAEGER["extensions"]["jaeger_query"]["storage"]["traces"]} == backends


def test_jaeger_takes_spans_where_the_mesh_sends_them():
    sent = SERVICES["gateway"]["environment"]["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
    received = JAEGER["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert sent.rpartition(":")[2] == received.rpartition(":")[2]


def test_jaeger_shows_traces_on_the_port_that_is_published():
    shown = JAEGER["extensions"]["jaeger_query"]["http"]["endpoint"].rpartition(":")[2]
    assert f"127.0.0.1:{shown}:{shown}" in SERVICES["jaeger"]["ports"]


def test_jaeger_is_given_the_file_that_is_mounted():
    _, path = SERVICES["jaeger"]["command"]
    assert any(volume.split(":")[1] == path for volume in SERVICES["jaeger"]["volumes"])
