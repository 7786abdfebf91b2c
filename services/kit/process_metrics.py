"""What a process uses: CPU time by mode and resident memory, read when metrics are collected."""

from __future__ import annotations

from collections.abc import Iterable

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.kit import semconv


def observe(meter: Meter) -> None:
    """Register the process's own metrics with `meter`."""
    process = psutil.Process()

    def cpu(_: CallbackOptions) -> Iterable[Observation]:
        times = process.cpu_times()
        return (
            Observation(times.user, {semconv.CPU_MODE: "user"}),
            Observation(times.system, {semconv.CPU_MODE: "system"}),
        )

    def memory(_: CallbackOptions) -> Iterable[Observation]:
        return (Observation(process.memory_info().rss),)

    meter.create_observable_counter(semconv.PROCESS_CPU_TIME, [cpu], unit="s", description="CPU time used")
    meter.create_observable_up_down_counter(
        semconv.PROCESS_MEMORY_USAGE, [memory], unit="By", description="Resident memory"
    )
