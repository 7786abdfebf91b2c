"""Envoy itself accepts what is rendered: the same resources, in one document, in its own validation."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from pathlib import Path

import pytest

from gateway.envoy.places import Endpoint, Models, Places
from gateway.envoy.process import find_binary
from gateway.envoy.snapshot import Folder, bootstrap, static

MODELS = ("smollm2-135m-instruct", "all-minilm-l6-v2", "a", "m.1_x-y")


def places(**changed: object) -> Places:
    """Return where a mesh is; nothing is bound by a validation."""
    services = {
        "front": (Endpoint("127.0.0.1", 50060), Endpoint("127.0.0.1", 50061)),
        "tokenizer": (Endpoint("tokenizer", 50051),),
        "monitor": (Endpoint("127.0.0.1", 50055),),
        "gateway": (Endpoint("127.0.0.1", 50056),),
    }
    defaults = {
        "public": Endpoint("127.0.0.1", 8080),
        "operators": Endpoint("127.0.0.1", 8081),
        "services": services,
        "traces": Endpoint("jaeger", 4317),
        "origins": ("https://example.org",),
    }
    return Places(**{**defaults, **changed})  # type: ignore[arg-type]


def overlapping(workers: int) -> Models:
    """Return models, each on some of `workers` workers, one on none."""
    chance = random.Random(workers)
    everyone = [Endpoint("10.0.0.1", 50052 + number, weight=1 + number) for number in range(workers)]
    ready = {model: tuple(chance.sample(everyone, chance.randint(1, workers))) for model in MODELS}
    return {**ready, "loading": ()}


async def validate(tmp_path: Path, content: dict[str, object]) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "static.json"
    file.write_text(json.dumps(content))
    command = (find_binary(""), "--mode", "validate", "--config-path", str(file), "--log-level", "warning")
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_resources_for_overlapping_models_are_valid(tmp_path: Path, workers: int) -> None:
    done = await validate(tmp_path, static(places(), overlapping(workers), Folder(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


async def test_resources_without_telemetry_and_without_models_are_valid(tmp_path: Path) -> None:
    services = {name: at for name, at in places().services.items() if name != "monitor"}
    done = await validate(
        tmp_path, static(places(services=services, traces=None, origins=()), {}, Folder(tmp_path))
    )
    assert done.returncode == 0, done.stderr


async def test_the_bootstrap_is_valid(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for path in (folder.clusters, folder.routes("public"), folder.routes("operators")):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    done = await validate(tmp_path, bootstrap(places(), folder))
    assert done.returncode == 0, done.stderr


async def test_the_validation_notices_a_fault(tmp_path: Path) -> None:
    content = static(places(), overlapping(1), Folder(tmp_path))
    content["static_resources"]["clusters"][0]["lb_policy"] = "WORST_REQUEST"
    assert (await validate(tmp_path, content)).returncode != 0
