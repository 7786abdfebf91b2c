"""`python -m services.recommender.training JOB.json RESULT.json`: one job, then the process ends.

The result is what `running.run` returns, or {"error": {"code", "reason", "message", "violations"}}, written
in one rename; the exit status is 0 with a result and 1 with an error. Whoever starts it says by
OPENBLAS_NUM_THREADS how many cores it may take.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.kit.errors import TrunklineError
from services.recommender.training.job import read_job
from services.recommender.training.running import run

_LOGGER = logging.getLogger(__name__)
BEHIND_SERVING = 10
"""Niceness: answers go before training."""


def main(job: Path, result: Path) -> int:
    """Do the job, write its result and return the exit status."""
    os.nice(BEHIND_SERVING)
    try:
        outcome = run(read_job(job))
    except TrunklineError as error:
        outcome = {"error": _described(error)}
    except Exception:
        _LOGGER.exception("the job failed")
        message = "The training process failed; its log says why."
        outcome = {"error": {"code": "INTERNAL", "reason": "INTERNAL", "message": message, "violations": []}}
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(outcome), encoding="utf-8")
    partial.rename(result)
    return int("error" in outcome)


def _described(error: TrunklineError) -> Mapping[str, Any]:
    violations = [{"field": each.field, "description": each.description} for each in error.violations]
    return {
        "code": error.code,
        "reason": str(error.reason),
        "message": error.message,
        "violations": violations,
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
