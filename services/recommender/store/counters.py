"""Popularity: how much each item was chosen, recent choices counting more.

Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay", ICDE 2009): a choice of weight w at time t
adds w · 2^((t - t₀) / h), and what is read now is the sum · 2^(-(now - t₀) / h). So nothing ages by being touched.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.recommender.entities import Floats, Preference
from services.recommender.store.database import Database
from services.recommender.store.event_log import Stored

HALF_LIVES_S = (86_400.0, 7 * 86_400.0, 30 * 86_400.0)


class Popularity:
    """Decayed choices by row, for several half-lives. Belongs to one event loop."""

    half_lives: tuple[float, ...]
    """Seconds, ascending."""

    @classmethod
    async def open(
        cls,
        database: Database,
        preferences: Mapping[str, Preference],
        half_lives: tuple[float, ...] = HALF_LIVES_S,
    ) -> Popularity:
        """Count what is stored, by one GROUP BY. Types without a preference, or one of 0 or less, do not count."""
        raise NotImplementedError

    def record(self, stored: Stored) -> None:
        """Count new events: the log's listener."""
        raise NotImplementedError

    def scores(self, half_life: float, now: float) -> Floats:
        """Return (rows,) float32 by the nearest half-life: about the choices of the last 1.44 half-lives."""
        raise NotImplementedError

    def trending(self, now: float) -> Floats:
        """Return (rows,) float32: the rate of choices now over the usual one (1: as usual), few choices damped."""
        raise NotImplementedError

    def counts(self) -> Floats:
        """Return (rows,) float32: all choices ever, undecayed."""
        raise NotImplementedError
