"""The store put together: one for the process that acts, one for those that only read and publish."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sqlalchemy import delete

from services.rl_policy.store.database import Database
from services.rl_policy.store.episodes import Episodes
from services.rl_policy.store.group_commit import GroupCommit
from services.rl_policy.store.ids import Ids
from services.rl_policy.store.policies import Incidents, Policies
from services.rl_policy.store.recordings import Recordings
from services.rl_policy.store.reward_log import RewardLog
from services.rl_policy.store.schema import (
    episodes,
    incidents,
    policies,
    version_arrays,
    versions,
)
from services.rl_policy.store.transition_log import TransitionLog
from services.rl_policy.store.versions import Versions


class Store:
    """Everything that the service keeps. Use as a context manager: leaving it writes what still waits.

    Futures (`log.append`, `rewards.send`, `episodes.start` and `end`) belong to the event loop that asked.
    Everything else blocks for a query: cheap, yet call it on a thread where acting must not wait.
    """

    def __init__(self, url: str) -> None:
        """Open the database at `url`, as `Database.open`."""
        self._exits = ExitStack()
        self.database = Database.open(url)
        self._exits.callback(self.database.close)
        commits = self._exits.enter_context(GroupCommit(self.database))
        self.ids = Ids(self.database)
        self.policies = Policies(self.database)
        self.incidents = Incidents(self.database)
        self.versions = Versions(self.database)
        self.episodes = Episodes(self.database, commits)
        self.log = TransitionLog(self.database, commits)
        self.recordings = Recordings(self.database, self.log)
        self.rewards = RewardLog(commits, self.ids)

    def forget(self, policy: str) -> None:
        """Delete a policy with everything of it; raises NotFound (POLICY_NOT_FOUND)."""
        self.policies.get(policy)
        for log in self.log.names(policy):
            self.log.trim(log, keep=0)
        with self.database.writing() as connection:
            for table in (episodes, version_arrays, versions, incidents):
                connection.execute(delete(table).where(table.c.policy == policy))
            connection.execute(delete(policies).where(policies.c.name == policy))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, trace)


class LearnersStore:
    """What a learner's process uses of the same database: it reads the log and publishes versions."""

    def __init__(self, url: str) -> None:
        """Open the database at `url`, as `Database.open`."""
        self.database = Database.open(url)
        self.policies = Policies(self.database)
        self.versions = Versions(self.database)
        self.log = TransitionLog(self.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()
