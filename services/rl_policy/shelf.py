"""The versions that act, loaded: each once, the least used forgotten first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from services.rl_policy.acting import Brain, unusable
from services.rl_policy.algorithms.policies.loading import load
from services.rl_policy.specification import Specification
from services.rl_policy.store.store import Store

CAPACITY = 256
"""Versions that are kept loaded; those that act in running episodes are held by them, too."""


class Shelf:
    """Loads versions of all policies from the store, on a thread. For one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._brains: OrderedDict[tuple[str, int], Brain] = OrderedDict()

    async def get(self, policy: str, specification: Specification, version: int) -> Brain:
        """Return a version ready to act.

        Raises NotFound (VERSION_NOT_FOUND), FailedPrecondition (VERSION_UNUSABLE) for one with a fault.
        """
        key = (policy, version)
        if key not in self._brains:
            self._brains[key] = await asyncio.to_thread(self._load, policy, specification, version)
        self._brains.move_to_end(key)
        while len(self._brains) > CAPACITY:
            self._brains.popitem(last=False)
        return self._brains[key]

    def clear(self, policy: str) -> None:
        """Forget every version of a policy."""
        for key in [each for each in self._brains if each[0] == policy]:
            del self._brains[key]

    def _load(self, policy: str, specification: Specification, version: int) -> Brain:
        found = self._store.versions.get(policy, min(version, (1 << 63) - 1))
        if found.fault:
            raise unusable(policy, version, f"must not act: {found.fault}")
        try:
            weights = load(specification.plan, self._store.versions.weights(policy, version))
        except ValueError as error:
            raise unusable(policy, version, f"cannot act: {error}") from error
        return Brain(policy, version, weights, specification)
