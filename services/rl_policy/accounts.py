"""What episodes have earned: added up as rewards come, settled when they have ended and await no more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.rl_policy.store.records import Reward

MAX_AWAITED = 1 << 20
"""Decisions whose rewards are awaited; beyond, the oldest episodes' totals are left to the store alone."""


@dataclass(eq=False)
class Account:
    """One episode's."""

    episode: int
    policy: str
    stage: str
    variant: str
    version: int
    total: float = 0.0
    awaited: int = 0
    """Decisions whose reward is to come."""
    ended: bool = False


class Accounts:
    """All episodes' that run, or await rewards. `on_settled` gets each account once, whole."""

    def __init__(self, on_settled: Callable[[Account], None]) -> None:
        self._on_settled = on_settled
        self._awaited: OrderedDict[int, Account] = OrderedDict()

    def earn(self, account: Account, reward: float) -> None:
        """Add a reward that came in time."""
        account.total += reward

    def await_reward(self, account: Account, decision: int) -> None:
        """Expect a decision's reward."""
        account.awaited += 1
        self._awaited[decision] = account
        if len(self._awaited) > MAX_AWAITED:
            self._awaited.popitem(last=False)

    def end(self, account: Account) -> None:
        """Take note that the episode has ended."""
        account.ended = True
        if not account.awaited:
            self._on_settled(account)

    def attributed(self, policy: str, rewards: Sequence[Reward]) -> list[Reward]:
        """Return the rewards with the episodes whose totals they are added to, as far as these are known."""
        return [
            replace(each, episode=account.episode)
            if (account := self._awaited.get(each.decision_id)) is not None and account.policy == policy
            else each
            for each in rewards
        ]

    def arrived(self, rewards: Sequence[Reward]) -> None:
        """Add rewards that were kept just now, none of them a duplicate."""
        for each in rewards:
            account = self._awaited.get(each.decision_id)
            if account is None:
                continue
            account.total += each.value
            if each.final:
                del self._awaited[each.decision_id]
                account.awaited -= 1
                if account.ended and not account.awaited:
                    self._on_settled(account)
