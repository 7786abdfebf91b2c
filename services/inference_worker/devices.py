"""The devices of this machine: what they are called and how much memory they have. No torch here.

GPUs are found through `nvidia-smi`, which comes with their driver. That part follows its documentation and is
untested on a GPU.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import psutil

CPU = "cpu"
_CGROUP = Path("/sys/fs/cgroup")
_QUERY = ("--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")
_MIB = 1 << 20
_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})


@dataclass(frozen=True)
class Device:
    """One device as it is now."""

    name: str
    """"cpu", or "cuda:0" and so on."""
    description: str
    total_bytes: int
    free_bytes: int
    threads: int = 0
    """How many threads may run on it at once, where a container says so; 0 where nothing does."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its engine's environment must say for the engine to see this device and no other."""
    bfloat16: bool = False
    """Whether it multiplies in bfloat16, and does not only store it."""


class DeviceInventory(Protocol):
    """Whatever knows the devices; tests have one of their own."""

    def observe(self) -> tuple[Device, ...]:
        """Return the devices with their memory as it is now; may take tenths of a second."""


class HostInventory:
    """The processor and the NVIDIA GPUs of this machine, within what the container allows."""

    def __init__(self, cgroup: Path = _CGROUP) -> None:
        self._cgroup = cgroup
        self._smi = shutil.which("nvidia-smi")

    def observe(self) -> tuple[Device, ...]:
        """Return the GPUs in their order, then the processor."""
        return (*self._gpus(), self._cpu())

    def _gpus(self) -> tuple[Device, ...]:
        if self._smi is None:
            return ()
        try:
            asked = subprocess.run(  # noqa: S603 - found on PATH, with arguments of ours
                [self._smi, *_QUERY], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return ()  # the tool without a driver, or a driver without a GPU
        return parse_gpus(asked.stdout)

    def _cpu(self) -> Device:
        memory = psutil.virtual_memory()
        total, free = memory.total, memory.available
        if limit := _number(self._cgroup / "memory.max"):
            total = min(total, limit)
            free = min(free, max(0, limit - self._held()))
        described = f"{_processor('model name') or 'processor'}, {_cores()} cores"
        return Device(CPU, described, total, free, self._quota(), bfloat16=_computes_bfloat16())

    def _quota(self) -> int:
        """Return how many cores' time the container may use, 0 for all: its `cpu.max` is time and period."""
        try:
            time, period = (self._cgroup / "cpu.max").read_text().split()
        except (OSError, ValueError):
            return 0
        return math.ceil(int(time) / int(period)) if time.isdigit() else 0

    def _held(self) -> int:
        """Return what the container holds and cannot give back: all but the files it has cached."""
        cached = 0
        statistics = self._cgroup / "memory.stat"
        if statistics.is_file():
            pairs = (line.split() for line in statistics.read_text().splitlines())
            cached = next((int(value) for key, value in pairs if key == "inactive_file"), 0)
        return _number(self._cgroup / "memory.current") - cached


def parse_gpus(table: str) -> tuple[Device, ...]:
    """Return the GPUs in what `nvidia-smi` prints: a line each of index, uuid, name, total and free MiB."""
    devices = []
    for line in table.splitlines():
        fields = [part.strip() for part in line.split(",")]
        if len(fields) != 5 or not (fields[3].isdigit() and fields[4].isdigit()):
            continue
        index, uuid, name, total, free = fields
        visible = {"CUDA_VISIBLE_DEVICES": uuid}
        memory = (int(total) * _MIB, int(free) * _MIB)
        devices.append(Device(f"cuda:{index}", name, *memory, environment=visible, bfloat16=True))
    return tuple(devices)


def _number(path: Path) -> int:
    """Return the number in a file of the cgroup; 0 where there is none ("max" is none)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


@cache
def _processor(what: str) -> str:
    """Return what the kernel says of the first processor, "" where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(what)), "")


def _computes_bfloat16() -> bool:
    return not _BFLOAT16.isdisjoint(_processor("flags").split())


def _cores() -> int:
    return len(os.sched_getaffinity(0))
