"""Everything that serving needs, made and wired in one place; what the service's handlers call."""

from __future__ import annotations

from services.recommender.serving.recommender import Recommender


class Serving:
    """The parts, open. `async with Serving(...)`: loads the newest good version, listens to the log, follows.

    recommender: lists. retraining: Train, Evaluate, policies. versions: what is loaded, Promote, Rollback.
    experiments: definitions and reports. online: GetOnlineMetrics. watch: WatchUser.
    """

    recommender: Recommender
