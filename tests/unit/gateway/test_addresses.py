"""Workers' addresses, and the folder of a run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.controller.addresses import Addresses, lookup
from gateway.envoy.run_folder import PREFIX, run_folder
from gateway.settings import GatewaySettings
from services.kit.settings import SettingsError, read


class Names:
    """A resolver that knows what it is told."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known

    async def __call__(self, host: str) -> list[str]:
        if host not in self.known:
            raise socket.gaierror(-2, "Name or service not known")
        return self.known[host]


async def test_an_ip_address_stands_for_itself() -> None:
    assert await lookup("10.0.0.1") == ["10.0.0.1"]
    assert await lookup("::1") == ["::1"]


async def test_a_name_resolves_to_ip_version_4_where_there_is_any() -> None:
    assert await lookup("localhost") == ["127.0.0.1"]


async def test_a_name_is_one_worker_and_a_dns_target_all_that_stand_behind_it() -> None:
    names = Names(pool=["10.0.0.1", "10.0.0.2"], six=["fd00::1"])
    assert await Addresses(["pool:5"], names).resolve() == {"pool:5": "10.0.0.1:5"}
    assert await Addresses(["dns:///pool:5"], names).resolve() == {
        "10.0.0.1:5": "10.0.0.1:5",
        "10.0.0.2:5": "10.0.0.2:5",
    }
    assert await Addresses(["dns:///six:5"], names).resolve() == {"[fd00::1]:5": "[fd00::1]:5"}


async def test_a_name_that_stops_to_resolve_keeps_what_it_stood_for() -> None:
    names = Names(pool=["10.0.0.1"])
    addresses = Addresses(["dns:///pool:5", "new:6"], names)
    assert await addresses.resolve() == {"10.0.0.1:5": "10.0.0.1:5", "new:6": ""}
    names.known = {"new": ["10.0.0.9"]}
    assert await addresses.resolve() == {"10.0.0.1:5": "10.0.0.1:5", "new:6": "10.0.0.9:6"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRUNKLINE_WORKERS", "nowhere"),
        ("TRUNKLINE_PUBLIC", "8080"),
        ("TRUNKLINE_FRONT_COUNT", "0"),
        ("TRUNKLINE_FRONT_PORT", "65536"),
        ("TRUNKLINE_RESOLVE_S", "0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(variable: str, value: str) -> None:
    with pytest.raises(SettingsError):
        read(GatewaySettings, {variable: value})


def test_a_run_folder_is_private_and_goes_with_its_run(tmp_path: Path) -> None:
    with run_folder(tmp_path) as path:
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_a_run_folder_that_a_killed_run_left_is_removed_and_a_live_ones_is_not(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert first.exists()
        assert second.exists()
        assert not left.exists()
