"""Training and evaluation as a child process: a job file in, a result file out; serving goes on beside it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.kit.child import SupervisedChild
from services.kit.errors import FailedPrecondition, Reason
from services.recommender.training.job import Job, write_job

_MODULE = "services.recommender.training"
_ROOT = Path(__file__).parents[3]
# One core: the answers have the others.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


async def run_job(job: Job) -> Mapping[str, Any]:
    """Return the job's result; when cancelled, the process ends first.

    Raises FailedPrecondition (TRAINING_FAILED) with the sentence that the process gave.
    """
    with tempfile.TemporaryDirectory(prefix="trunkline-training-") as folder:
        job_file, result_file = Path(folder, "job.json"), Path(folder, "result.json")
        await asyncio.to_thread(write_job, job, job_file)
        command = [sys.executable, "-m", _MODULE, str(job_file), str(result_file)]
        paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
        environment = {**_ENVIRONMENT, "PYTHONPATH": paths}
        child = SupervisedChild(f"{job.task} of the recommender", command, env=environment, restart=False)
        await child.start()
        try:
            await child.wait()
        finally:
            await child.stop()
        return await asyncio.to_thread(_result, result_file)


def _result(path: Path) -> Mapping[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(Reason.TRAINING_FAILED, "the process ended without a result") from error
    failure = result.get("error")
    if failure is not None:
        raise FailedPrecondition(Reason.TRAINING_FAILED, str(failure["message"]))
    return result
