"""The writer's order: what is new is in effect before what is old goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.envoy.admin import AdminError
from gateway.envoy.places import Endpoint
from gateway.envoy.snapshot import Folder, Snapshot
from gateway.envoy.writer import Writer

A, B, C = (Endpoint("10.0.0.1", port) for port in (1, 2, 3))


class Envoy:
    """Stands in for Admin: reads the files whenever it is asked, and notes what they said."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.seen: list[dict[str, Any]] = []
        self.down = False

    async def versions(self) -> Mapping[str, str]:
        if self.down:
            raise AdminError("down")
        seen = self._look()
        return {**seen.pop("versions"), "cluster_manager.warming_clusters": "0"}

    async def healthy(self, cluster: str) -> frozenset[str]:
        return frozenset(self._look()["endpoints"][cluster])

    def _look(self) -> dict[str, Any]:
        clusters = json.loads(self._folder.clusters.read_text())
        versions = {"cluster_manager.cds.version_text": clusters["version_info"]}
        endpoints = {}
        for name in [each["name"] for each in clusters["resources"]]:
            found = json.loads(self._folder.endpoints(name).read_text())
            versions[f"cluster.{name}.version_text"] = found["version_info"]
            endpoints[name] = [
                _address(each) for each in found["resources"][0]["endpoints"][0]["lb_endpoints"]
            ]
        for path in self._folder.routes("x").parent.glob("*.json"):
            name = f"http.{path.stem}.rds.{path.stem}.version_text"
            versions[name] = json.loads(path.read_text())["version_info"]
        if not self.seen or self.seen[-1] != endpoints:
            self.seen.append(endpoints)
        return {"versions": versions, "endpoints": endpoints}


def _address(host: Mapping[str, Any]) -> str:
    at = host["endpoint"]["address"]["socket_address"]
    return f"{at['address']}:{at['port_value']}"


def snapshot(**models: tuple[Endpoint, ...]) -> Snapshot:
    return Snapshot({name: {"name": name} for name in models}, models, {"public": {"of": sorted(models)}})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def envoy(folder: Folder) -> Envoy:
    return Envoy(folder)


@pytest.fixture
def writer(folder: Folder, envoy: Envoy) -> Writer:
    return Writer(folder, envoy, lambda: True)  # type: ignore[arg-type]


async def test_a_clusters_members_overlap_while_they_change(writer: Writer, envoy: Envoy) -> None:
    await writer.write(snapshot(m=(A,)))
    await writer.write(snapshot(m=(B, C)))
    assert [sorted(each["m"]) for each in envoy.seen] == [
        [A.address],
        [A.address, B.address, C.address],
        [B.address, C.address],
    ]


async def test_a_new_cluster_is_there_before_an_old_one_goes(writer: Writer, envoy: Envoy) -> None:
    await writer.write(snapshot(old=(A,)))
    await writer.write(snapshot(new=(B,)))
    assert [sorted(each) for each in envoy.seen] == [["old"], ["new", "old"], ["new"]]


async def test_a_gone_clusters_file_goes_too(writer: Writer, folder: Folder) -> None:
    await writer.write(snapshot(old=(A,), m=()))
    await writer.write(snapshot(m=()))
    assert not folder.endpoints("old").exists()
    assert folder.endpoints("m").exists()


async def test_a_change_of_members_touches_their_file_only(writer: Writer, folder: Folder) -> None:
    await writer.write(snapshot(m=(A,), n=(B,)))
    before = {path: path.stat().st_ino for path in folder.path.rglob("*.json")}
    await writer.write(snapshot(m=(A, C), n=(B,)))
    after = {path: path.stat().st_ino for path in folder.path.rglob("*.json")}
    assert {path for path in after if after[path] != before.get(path)} == {folder.endpoints("m")}


async def test_nothing_is_awaited_of_an_envoy_that_does_not_answer(writer: Writer, envoy: Envoy) -> None:
    envoy.down = True
    await writer.write(snapshot(m=(A,)))
    assert envoy.seen == []
