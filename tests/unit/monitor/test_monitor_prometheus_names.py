"""Names as Prometheus has them."""

from __future__ import annotations

import pytest

from services.monitor.points import Instrument, Kind
from services.monitor.prometheus_names import family_name, label_name, unit_name


@pytest.mark.parametrize(
    ("name", "unit", "kind", "family"),
    [
        ("rpc.server.call.duration", "s", Kind.HISTOGRAM, "rpc_server_call_duration_seconds"),
        ("process.memory.usage", "By", Kind.GAUGE, "process_memory_usage_bytes"),
        ("process.cpu.time", "s", Kind.COUNTER, "process_cpu_time_seconds"),
        ("trunkline.model.prompt_tokens", "{token}", Kind.COUNTER, "trunkline_model_prompt_tokens"),
        ("requests_total", "1", Kind.COUNTER, "requests"),
        ("cache.use", "1", Kind.GAUGE, "cache_use_ratio"),
        ("wait_seconds", "s", Kind.GAUGE, "wait_seconds"),
        ("speed", "By/s", Kind.GAUGE, "speed_bytes_per_second"),
        ("7th.wave", "", Kind.GAUGE, "_7th_wave"),
        ("a--b..c", "", Kind.GAUGE, "a_b_c"),
        ("größe", "", Kind.GAUGE, "gr_e"),
        ("…", "", Kind.GAUGE, "unnamed"),
    ],
)
def test_a_family_is_called(name: str, unit: str, kind: Kind, family: str):
    assert family_name(Instrument(name, unit, kind)) == family


@pytest.mark.parametrize(
    ("unit", "words"), [("", ""), ("1", ""), ("{request}", ""), ("m/s", "meters_per_second"), ("wat", "wat")]
)
def test_a_unit_is_called(unit: str, words: str):
    assert unit_name(unit) == words


def test_a_label_is_called():
    assert label_name("rpc.method") == "rpc_method"
    assert label_name("1st") == "key_1st"
