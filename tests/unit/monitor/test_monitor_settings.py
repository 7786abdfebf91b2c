"""The monitor's settings."""

from __future__ import annotations

import pytest

from services.kit.settings import SettingsError, describe, read
from services.monitor.settings import MonitorSettings


def test_they_have_defaults_that_work_and_a_sentence_each():
    settings = read(MonitorSettings, {})
    assert (settings.listen, settings.metrics_http) == ("127.0.0.1:50055", "127.0.0.1:9464")
    assert (settings.tokenizer, settings.workers) == ("127.0.0.1:50051", ("127.0.0.1:50052",))
    assert (settings.monitor_traces, settings.monitor_series) == (1_000, 8_192)
    assert all(each.help.endswith(".") for each in describe(MonitorSettings))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRUNKLINE_MONITOR_SERIES", "0"),
        ("TRUNKLINE_MONITOR_TRACES", "many"),
        ("TRUNKLINE_METRICS_HTTP", "localhost"),
        ("TRUNKLINE_WORKERS", "box:1,box"),
    ],
)
def test_one_that_cannot_be_used_is_refused_in_a_sentence(variable: str, value: str):
    with pytest.raises(SettingsError, match=variable):
        read(MonitorSettings, {variable: value})
