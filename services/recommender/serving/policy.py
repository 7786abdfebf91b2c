"""The policy of retraining: when to begin a training that nobody asked for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.kit.errors import invalid
from services.recommender.serving.online_metrics import OnlineMetrics
from services.recommender.serving.operations import Gate, Policy

_WINDOW_S = 3_600.0
_LISTS = 200
"""Fewer lists than this say nothing of a click-through rate."""


def check(policy: Policy) -> None:
    """Raise InvalidArgument where a policy cannot be kept."""
    if policy.every_events < 0:
        raise invalid("policy.every_events", "must not be negative")
    if policy.period_s < 0 or 0 < policy.period_s < 1:
        raise invalid("policy.period", f"must be at least a second, not {policy.period_s:g} s")
    if not 0 <= policy.ctr_drop <= 1:
        raise invalid("policy.click_rate_drop", f"must be from 0 to 1, not {policy.ctr_drop:g}")


def encode(policy: Policy) -> dict[str, Any]:
    """Return the policy as JSON can hold it."""
    return asdict(policy)


def decode(document: Any) -> Policy:
    """Return the policy that `encode` wrote; anything else asks for nothing."""
    if not isinstance(document, dict):
        return Policy()
    gate = document.get("gate")
    return Policy(**{**document, "gate": Gate(**gate) if gate else None})


async def has_dropped(online: OnlineMetrics, promoted: float, now: float, drop: float) -> bool:
    """Return whether the click-through rate fell by the share `drop` of what it was after the promotion.

    Compared are the first hour after it and the last one; each needs 200 lists.
    """
    if now - promoted < 2 * _WINDOW_S:
        return False
    clicks_all, lists_all = await online.click_rate(promoted)
    clicks_later, lists_later = await online.click_rate(promoted + _WINDOW_S)
    clicks_last, lists_last = await online.click_rate(now - _WINDOW_S)
    first = lists_all - lists_later
    if min(first, lists_last) < _LISTS:
        return False
    before = (clicks_all - clicks_later) / first
    return before > 0 and clicks_last / lists_last < (1 - drop) * before
