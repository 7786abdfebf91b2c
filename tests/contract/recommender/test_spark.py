from __future__ import annotations

import asyncio
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.contract.recommender.serving import event, ids, populate, recommend, record, serving

ROOT = Path(__file__).parents[3]
JOB = ROOT / "deploy" / "spark" / "als.py"


@pytest.mark.soak
@pytest.mark.skipif(
    find_spec("pyspark") is None, reason="needs PySpark: pip install -c constraints.txt pyspark"
)
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java 17")
async def test_a_spark_job_trains_on_what_is_exported_and_its_factors_answer(tmp_path: Path) -> None:
    async with serving(tmp_path / "state") as running:
        await populate(running.stub)
        command = [str(JOB), "--address", running.address, "--version", "spark-1", "--rank", "8", "--promote"]
        job = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await job.communicate()
        assert job.returncode == 0
        assert json.loads(said.splitlines()[-1]) == {"version": "spark-1", "items": 30}
        # A user whom Spark has never seen is folded in by three events.
        await record(running.stub, [event("new", f"f{number}") for number in (0, 2, 4)])
        answer = await recommend(running.stub, "new", 5)
        assert answer.provenance.model_version == "spark-1"
        assert all(int(each.removeprefix("f")) % 2 == 0 for each in ids(answer.items))
