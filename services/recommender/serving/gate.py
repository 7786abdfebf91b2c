"""The gate: what a version's offline metrics must reach before it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.serving.operations import Gate

_ERRORS = ("rmse", "mae")
"""Metrics of which less is better: `at_least` is then the most, and a rise is a drop."""


def check(gate: Gate, metrics: Mapping[str, Any], live: Mapping[str, Any]) -> None:
    """Raise FailedPrecondition (GATE_FAILED) where `metrics` do not reach the gate beside the live version's.

    A metric that was not measured reaches nothing; one that the live version lacks does not bind.
    """
    value = _number(metrics, gate.metric)
    if value is None:
        raise _failed(gate, "unmeasured", "measured")
    sign = -1.0 if gate.metric.startswith(_ERRORS) else 1.0
    if gate.at_least is not None and sign * value < sign * gate.at_least:
        raise _failed(gate, f"{value:g}", f"{gate.at_least:g}")
    before = _number(live, gate.metric)
    if gate.max_drop is None or before is None:
        return
    bound = before - sign * gate.max_drop * abs(before)
    if sign * value < sign * bound:
        raise _failed(gate, f"{value:g}", f"{bound:g}")


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    found = metrics.get(name)
    if isinstance(found, Mapping):
        found = found.get("mean")
    return float(found) if isinstance(found, int | float) else None


def _failed(gate: Gate, value: str, bound: str) -> FailedPrecondition:
    return FailedPrecondition(
        Reason.GATE_FAILED,
        f"The version's {gate.metric} is {value}; {bound} is needed.",
        metadata={"metric": gate.metric, "value": value, "bound": bound},
    )
