"""Addresses as settings name them."""

from __future__ import annotations

import socket

import pytest

from services.kit.addresses import Addresses, is_name, join, lookup, split


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
    ("address", "host", "port"),
    [
        ("box:1", "box", 1),
        ("[fd00::1]:5", "fd00::1", 5),
        ("dns:///box:7", "box", 7),
        ("http://10.0.0.1:9/", "10.0.0.1", 9),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, host: str, port: int) -> None:
    assert split(address) == (host, port)
    assert split(join(host, port)) == (host, port)
    assert is_name(address) == address.startswith("dns:///")


@pytest.mark.parametrize("address", ["", "box", "box:", ":1", "box:one"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        split(address)


async def test_a_name_that_never_resolved_stands_for_nothing() -> None:
    assert await Addresses(["dns:///no-such-host.invalid:5"], Names()).resolve() == {}
