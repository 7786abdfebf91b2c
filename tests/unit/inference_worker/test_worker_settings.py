"""Settings are read once and make sense."""

from __future__ import annotations

import os

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
    [
        ("TRUNKLINE_DTYPE", "int3"),
        ("TRUNKLINE_MAX_SEQUENCES", "0"),
        ("TRUNKLINE_CACHE_TOKENS", "15"),
        ("TRUNKLINE_ENGINE_THREADS", "-1"),
        ("TRUNKLINE_ENGINE_SILENCE_S", "0"),
        ("TRUNKLINE_ENGINE_CORES", "0-"),
        ("TRUNKLINE_ENGINE_CORES", "a"),
        ("TRUNKLINE_ENGINE_CORES", "100000"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        read(WorkerSettings, {name: value})


def test_an_engine_keeps_to_cores_that_are_named():
    first = min(os.sched_getaffinity(0))
    settings = read(WorkerSettings, {"TRUNKLINE_ENGINE_CORES": f"{first}-{first},{first}"})
    assert settings.engine.cores == (first,)
    assert read(WorkerSettings, {}).engine.cores == ()
