"""What the monitor did not keep, counted by reason; each reason is logged when it first comes up."""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger(__name__)


class Drops:
    """Counts of points and spans that were not kept. Reasons are named in the code, so they are few."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, signal: str, reason: str, amount: int = 1) -> None:
        """Count `amount` of `signal` ("metrics", "traces") as not kept for `reason`."""
        if not amount:
            return
        if (signal, reason) not in self._counts:
            log.warning("telemetry dropped", extra={"signal": signal, "reason": reason, "amount": amount})
        self._counts[signal, reason] += amount

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the counts by signal and reason."""
        return dict(self._counts)
