"""Which runner a model gets and in which precision."""

from __future__ import annotations

import pytest

from services.inference_worker.devices import Device
from services.inference_worker.ways import choose
from services.store.spec import Task

OLD = Device("cpu", "without bfloat16", 1, 1)
NEW = Device("cpu", "with AMX", 1, 1, bfloat16=True)
GPU = Device("cuda:0", "a GPU", 1, 1, bfloat16=True)


@pytest.mark.parametrize(
    ("asked", "task", "device", "instructions", "way"),
    [
        ("bfloat16", Task.GENERATE, NEW, "amx", "native bfloat16, amx"),
        ("q4", Task.GENERATE, OLD, "avx2", "native q4, avx2"),
        ("int8", Task.EMBED, NEW, "amx", "native int8, amx"),
        ("float32", Task.GENERATE, NEW, "amx", "torch float32"),
        ("float16", Task.GENERATE, NEW, "amx", "torch float16"),
        ("bfloat16", Task.GENERATE, NEW, "", "torch bfloat16"),
        ("q4", Task.GENERATE, NEW, "", "torch bfloat16"),
        ("q4", Task.GENERATE, GPU, "amx", "torch bfloat16"),
        ("auto", Task.EMBED, NEW, "amx", "native bfloat16, amx"),
        ("auto", Task.EMBED, NEW, "", "torch bfloat16"),
        ("auto", Task.EMBED, OLD, "avx2", "torch float32"),
        ("auto", Task.GENERATE, OLD, "avx2", "native bfloat16, avx2"),
        ("auto", Task.GENERATE, OLD, "", "torch float32"),
        ("auto", Task.GENERATE, GPU, "amx", "torch bfloat16"),
    ],
)
def test_the_way_follows_from_what_is_asked_and_what_is_there(
    asked: str, task: Task, device: Device, instructions: str, way: str
):
    assert str(choose(asked, task, device, instructions, adapted=True)) == way


@pytest.mark.parametrize(
    ("asked", "way"), [("bfloat16", "torch bfloat16"), ("int8", "torch bfloat16"), ("auto", "torch bfloat16")]
)
def test_a_model_that_no_adapter_knows_is_torchs(asked: str, way: str):
    assert str(choose(asked, Task.GENERATE, NEW, "amx", adapted=False)) == way
