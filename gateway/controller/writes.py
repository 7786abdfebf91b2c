"""What operators may write: shares of traffic, and workers taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.controller.table import Overrides, RouteTable
from services.kit.errors import NotFound, Reason, invalid

ID_LENGTH = 64


class Order(Protocol):
    """What an operator wants: a frozen dataclass of plain values, so that equal contents look the same."""

    @property
    def request_id(self) -> str:
        """The author's name for it."""


class Write(Order, Protocol):
    """An order that changes the routes."""

    @property
    def expected_revision(self) -> int:
        """The revision that the author saw."""

    def apply(self, overrides: Overrides, table: RouteTable) -> Overrides:
        """Return the overrides with this write in them; raises a TrunklineError where it does not fit."""


@dataclass(frozen=True)
class TrafficShares:
    """Shares a model's traffic out among its versions; no shares: back to the newest ready version."""

    request_id: str
    expected_revision: int
    model: str
    shares: tuple[tuple[str, int], ...]
    """Version and percent."""

    def __post_init__(self) -> None:
        _check(self.request_id, self.expected_revision)
        if not self.model:
            raise invalid("model", "must not be empty")
        versions = [version for version, _ in self.shares]
        if len(set(versions)) < len(versions):
            raise invalid("shares", "must name each version once")
        for number, (_, percent) in enumerate(self.shares):
            if not 0 <= percent <= 100:
                raise invalid(f"shares[{number}].percent", f"must be from 0 to 100, not {percent}")
        if self.shares and sum(percent for _, percent in self.shares) != 100:
            raise invalid("shares", "must add up to 100")

    def apply(self, overrides: Overrides, table: RouteTable) -> Overrides:
        """Return the overrides with these shares; raises NotFound (MODEL_NOT_FOUND, VERSION_NOT_FOUND)."""
        route = table.model(self.model)
        if route is None:
            raise NotFound(
                Reason.MODEL_NOT_FOUND, f"no model is called {self.model}", metadata={"model": self.model}
            )
        known = {version.version for version in route.versions}
        for version, _ in self.shares:
            if version not in known:
                raise NotFound(
                    Reason.VERSION_NOT_FOUND,
                    f"{self.model} has no version {version}",
                    metadata={"model": self.model, "version": version},
                )
        return replace(overrides, shares=self._merged(overrides.shares))

    def _merged(self, shares: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
        others = {model: each for model, each in shares.items() if model != self.model}
        return {**others, self.model: dict(self.shares)} if self.shares else others


@dataclass(frozen=True)
class WorkerDrain:
    """Takes a worker out of all routes, or puts it back."""

    request_id: str
    expected_revision: int
    worker: str
    drained: bool

    def __post_init__(self) -> None:
        _check(self.request_id, self.expected_revision)
        if not self.worker:
            raise invalid("worker", "must not be empty")

    def apply(self, overrides: Overrides, table: RouteTable) -> Overrides:
        """Return the overrides with the worker out or in; raises NotFound (PROCESS_NOT_FOUND)."""
        if table.worker(self.worker) is None:
            raise NotFound(
                Reason.PROCESS_NOT_FOUND,
                f"no worker of this mesh is at {self.worker}",
                metadata={"target": self.worker},
            )
        only = frozenset({self.worker})
        return replace(
            overrides, drained=overrides.drained | only if self.drained else overrides.drained - only
        )


def check_request_id(value: str) -> None:
    """Raise InvalidArgument where `value` is no request id."""
    if not 0 < len(value) <= ID_LENGTH:
        raise invalid("request_id", f"must have 1 to {ID_LENGTH} characters, not {len(value)}")


def _check(request_id: str, expected_revision: int) -> None:
    check_request_id(request_id)
    if expected_revision < 1:
        raise invalid("expected_revision", "must be the revision that ListRoutes gave, 1 or more")
