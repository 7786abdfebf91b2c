"""The Dockerfile copies what exists, installs extras that exist, and runs as nobody special."""

from __future__ import annotations

import fnmatch
import json
import re

import pytest

from tests.contract.deploy.files import ROOT, STARTED, compose, extras, stages

STAGES = stages()
SERVICES = {name: stage for name, stage in STAGES.items() if stage.of("CMD")}

every_image = pytest.mark.parametrize("name", SERVICES)


def test_the_images_are_the_ones_that_compose_builds():
    targets = {each["build"]["target"] for each in compose()["services"].values() if "build" in each}
    assert set(SERVICES) == targets


@pytest.mark.parametrize("name", STAGES)
def test_what_it_builds_on_is_there(name: str):
    assert STAGES[name].base in {"${PYTHON}", *STAGES}


def copied() -> list[str]:
    """Return what is copied from the repository."""
    lines = [line for stage in STAGES.values() for line in stage.of("COPY") if not line.startswith("--from")]
    return [source for line in lines for source in line.split()[:-1]]


@pytest.mark.parametrize("source", copied())
def test_what_it_copies_is_there_and_reaches_the_engine(source: str):
    assert (ROOT / source).exists()
    assert not ignored(source)


def test_the_build_gets_nothing_else():
    shown = {path.name for path in ROOT.iterdir() if not ignored(path.name)}
    assert shown == set(copied())


def ignored(path: str) -> bool:
    """Tell whether .dockerignore keeps a path of the top level away: the last rule that fits decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.lstrip("!")):
            verdict = not line.startswith("!")
    return verdict


def installed(name: str) -> list[str]:
    """Return the extras that an image installs."""
    return [extra for line in SERVICES[name].of("RUN") for extra in re.findall(r"\.whl\)\[([\w,]+)\]", line)]


@every_image
def test_it_installs_one_extra_that_exists_at_the_versions_tested_together(name: str):
    (extra,) = installed(name)
    assert extra in extras()
    assert "-c /wheels/constraints.txt" in SERVICES[name].of("RUN")[0]


@every_image
def test_only_what_computes_with_networks_has_torch(name: str):
    needed = closure(installed(name)[0])
    assert any(requirement.startswith("torch") for requirement in needed) == (name in {"worker", "rl_policy"})


def closure(extra: str) -> set[str]:
    """Return every requirement of an extra, through the extras that it names."""
    found: set[str] = set()
    for requirement in extras()[extra]:
        named = re.fullmatch(r"trunkline\[([\w,]+)\]", requirement)
        found |= set().union(*map(closure, named[1].split(","))) if named else {requirement}
    return found


@every_image
def test_it_runs_as_its_own_user(name: str):
    (user,) = SERVICES[name].of("USER")
    assert any(
        f"useradd --system --uid 10001 --create-home {user}" in line for line in STAGES["base"].of("RUN")
    )
    words = [word for word, _ in SERVICES[name].steps]
    assert words.index("USER") > words.index("RUN")


@every_image
def test_it_exposes_the_ports_of_what_it_runs(name: str):
    command = json.loads(SERVICES[name].of("CMD")[0])
    (entry,) = [entry for entry in STARTED if entry.module == command[-1]]
    assert str(entry.port) in SERVICES[name].of("EXPOSE")[0].split()


def test_the_worker_takes_torch_from_an_index_of_cpu_wheels_unless_told_otherwise():
    assert STAGES["worker"].of("ARG") == ["TORCH_INDEX=https://download.pytorch.org/whl/cpu"]
    assert '--extra-index-url "$TORCH_INDEX"' in STAGES["worker"].of("RUN")[0]
