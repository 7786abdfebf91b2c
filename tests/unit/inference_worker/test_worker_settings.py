"""Settings are read once and make sense."""

from __future__ import annotations

import pytest

from services.inference_worker.settings import WorkerSettings
from services.kit.settings import SettingsError, read


def test_the_defaults_work():
    settings = read(WorkerSettings, {})
    assert settings.listen == "127.0.0.1:50052"
    assert settings.store.models == ("smollm2-135m-instruct", "all-minilm-l6-v2")
    assert settings.limits.running == 32


def test_a_worker_may_begin_without_models():
    assert read(WorkerSettings, {"TRUNKLINE_MODELS": ""}).store.models == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRUNKLINE_DTYPE", "int3"), ("TRUNKLINE_MAX_SEQUENCES", "0"), ("TRUNKLINE_ENGINE_THREADS", "-1")],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        read(WorkerSettings, {name: value})
