"""Which runner a model gets and in which precision: a pure function of what is asked and what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.inference_worker.devices import CPU, Device
from services.store.spec import AUTO, Task

PACKED = frozenset({"bfloat16", "int8", "q4"})
"""The precisions of the native runner; float32 stays with torch, whose answers there are the reference."""
_NATIVE_ONLY = PACKED - {"bfloat16"}


@dataclass(frozen=True)
class Way:
    """How a model is run: by the native runner with these instructions, or ("") by torch."""

    precision: str
    instructions: str = ""

    @property
    def runner(self) -> Literal["native", "torch"]:
        """What computes."""
        return "native" if self.instructions else "torch"

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"{self.runner} {self.precision}", self.instructions)))


def choose(asked: str, task: Task, device: Device, instructions: str, *, adapted: bool) -> Way:
    """Return the way for a model whose precision is to be `asked` on a device.

    `instructions` are those of the native library ("": it is not there), `adapted` says whether the model is
    a program that it can run. What only the native runner has becomes bfloat16 where it cannot be used.
    """
    native = instructions if adapted and device.name == CPU else ""
    precision = _fastest(task, device, native) if asked == AUTO else asked
    if precision in PACKED and native:
        return Way(precision, native)
    return Way("bfloat16" if precision in _NATIVE_ONLY else precision)


def _fastest(task: Task, device: Device, native: str) -> str:
    """Return bfloat16 where it is computed, else float32.

    A decoder of the native runner waits for its weights, whatever computes: half the bytes, half the time.
    """
    return "bfloat16" if device.bfloat16 or (native and task is Task.GENERATE) else "float32"
