"""The contract of the public services, for reflection: others answer them, this process describes them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from services.kit.audience import descriptor_set


def load_contract(services: Iterable[str]) -> tuple[str, ...]:
    """Import the messages of `services` (full names), so that reflection knows them; return the names."""
    names = tuple(services)
    for file in descriptor_set().file:
        if any(f"{file.package}.{service.name}" in names for service in file.service):
            import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return names
