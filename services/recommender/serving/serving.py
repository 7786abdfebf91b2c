"""Everything that serving needs, made and wired in one place; what the service's handlers call."""

from __future__ import annotations

from services.recommender.serving.experiments import Experiments
from services.recommender.serving.online_metrics import OnlineMetrics
from services.recommender.serving.recommender import Recommender
from services.recommender.serving.retraining import Retraining
from services.recommender.serving.versions import Versions
from services.recommender.serving.watch import Watch


class Serving:
    """The parts, open. `async with Serving(...)`: loads the newest good version and listens to the log.

    Constructor: Serving(store parts, configuration, settings).
    """

    recommender: Recommender
    retraining: Retraining
    versions: Versions
    experiments: Experiments
    online: OnlineMetrics
    watch: Watch
