"""The store of metrics: every series of every process that reports, bounded whatever comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from services.monitor.drops import Drops
from services.monitor.points import Attributes, Instrument, Origin, Point
from services.monitor.series import Gauge, Series, absorb, begin, record

SeriesKey = tuple[Instrument, Attributes]


@dataclass(frozen=True)
class MetricLimits:
    """What the store may hold.

    With 8,192 histograms that change each second it takes 75 MB at 17 buckets, 135 MB at 65.
    """

    series: int = 8_192
    processes: int = 256
    lifetime: float = 15.0
    """Seconds after its last report until a process is forgotten."""


@dataclass
class Process:
    """A process that reports."""

    origin: Origin
    began_at: float
    """When it was first heard, by the store's clock."""
    reported_at: float
    """When it was last heard."""
    series: dict[SeriesKey, Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A series, and whose it is. `process` is None for the sum over the forgotten processes of `service`."""

    service: str
    process: Process | None
    instrument: Instrument
    attributes: Attributes
    series: Series

    def attribute(self, key: str) -> str:
        """Return an attribute's value, "" where there is none."""
        return next((value for name, value in self.attributes if name == key), "")


class MetricStore:
    """Keeps series by process. A process that falls silent goes; what it counted stays in its service's sums.

    `clock` gives seconds that never go back; `started_ns` is the Unix time (ns) of its first reading.
    """

    def __init__(
        self, clock: Callable[[], float], started_ns: int, drops: Drops, limits: MetricLimits | None = None
    ) -> None:
        self._clock = clock
        self._started_ns = started_ns
        self._drops = drops
        self._limits = limits or MetricLimits()
        self._processes: dict[Origin, Process] = {}
        self._retired: dict[tuple[str, SeriesKey], Series] = {}
        self._held = 0
        self.started_at = clock()

    @property
    def held(self) -> int:
        """How many series of live processes there are."""
        return self._held

    def now(self) -> float:
        """Return the store's time in seconds."""
        return self._clock()

    def record(self, origin: Origin, points: Iterable[Point]) -> int:
        """Add points of one process; return how many found a place."""
        now = self._clock()
        self.forget_silent()
        process = self._heard(origin, now)
        kept = 0
        for point in points:
            series = None if process is None else self._series(process, point)
            if series is None:
                self._drops.count("metrics", "process_limit" if process is None else "series_limit")
            else:
                record(series, point, now, fresh=point.start_ns >= self._started_ns)
                kept += 1
        return kept

    def processes(self) -> list[Process]:
        """Return the live processes, ordered by service and instance."""
        self.forget_silent()
        return sorted(
            self._processes.values(), key=lambda process: (process.origin.service, process.origin.instance)
        )

    def entries(self, name: str = "") -> Iterator[Entry]:
        """Yield the series of the instruments called `name` ("": all), those of forgotten processes last."""
        self.forget_silent()
        for process in self._processes.values():
            for (instrument, attributes), series in process.series.items():
                if name in ("", instrument.name):
                    yield Entry(process.origin.service, process, instrument, attributes, series)
        for (service, (instrument, attributes)), retired in self._retired.items():
            if name in ("", instrument.name):
                yield Entry(service, None, instrument, attributes, retired)

    def forget_silent(self) -> None:
        """Forget the processes that have not reported for their lifetime."""
        deadline = self._clock() - self._limits.lifetime
        for process in [each for each in self._processes.values() if each.reported_at < deadline]:
            del self._processes[process.origin]
            self._held -= len(process.series)
            for key, series in process.series.items():
                self._retire(process.origin.service, key, series)

    def _heard(self, origin: Origin, now: float) -> Process | None:
        process = self._processes.get(origin)
        if process is None:
            if len(self._processes) >= self._limits.processes:
                return None
            process = self._processes[origin] = Process(origin, began_at=now, reported_at=now)
        process.reported_at = now
        return process

    def _series(self, process: Process, point: Point) -> Series | None:
        key = (point.instrument, point.attributes)
        series = process.series.get(key)
        if series is None and self._held < self._limits.series:
            series = process.series[key] = begin(point.instrument.kind)
            self._held += 1
        return series

    def _retire(self, service: str, key: SeriesKey, series: Series) -> None:
        if isinstance(series, Gauge):
            return
        total = self._retired.get((service, key))
        if total is None and len(self._retired) >= self._limits.series:
            self._drops.count("metrics", "retired_limit")
        elif total is None:
            self._retired[service, key] = series
        else:
            absorb(total, series)
