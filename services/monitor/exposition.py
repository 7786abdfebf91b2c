"""The store as Prometheus reads it: its text format 0.0.4, or OpenMetrics 1.0 where the reader accepts that.

Written here and not by prometheus_client, whose samples are objects: at the store's bounds that takes ten
times as long, and in one piece. Its parsers read the result in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby

from services.monitor.drops import Drops
from services.monitor.metrics import Entry, MetricStore
from services.monitor.points import Instrument, Kind
from services.monitor.prometheus_names import family_name, label_name
from services.monitor.series import Counter, Distribution, Gauge
from services.monitor.traces import TraceRing

# What a sample adds to its family's name; two families must not share a sample's name.
_SUFFIXES = {Kind.COUNTER: ("_total",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}
_RESERVED = frozenset({"service", "instance", "le"})
_HELP_ESCAPES = {ord("\\"): r"\\", ord("\n"): r"\n"}
_ESCAPES = {**_HELP_ESCAPES, ord('"'): r"\""}


@dataclass(frozen=True)
class Format:
    """A format of the exposition."""

    content_type: str
    is_openmetrics: bool

    @classmethod
    def accepted(cls, accept: str) -> Format:
        """Return the best format that an Accept header admits."""
        if "application/openmetrics-text" in accept:
            return cls("application/openmetrics-text; version=1.0.0; charset=utf-8", is_openmetrics=True)
        return cls("text/plain; version=0.0.4; charset=utf-8", is_openmetrics=False)


class Exposition:
    """Writes what /metrics answers."""

    def __init__(self, store: MetricStore, ring: TraceRing, drops: Drops) -> None:
        self._store = store
        self._ring = ring
        self._drops = drops

    def pieces(self, form: Format) -> Iterator[str]:
        """Yield the answer, a series at a time: the monitor's own first, then by instrument.

        What would make a scrape invalid (a name or a set of labels given twice) is left out and counted.
        """
        own = dict(self._own())
        for instrument, samples in own.items():
            yield _header(family_name(instrument), instrument, form)
            yield "".join(samples)
        names = _Names(own)
        live = [entry for entry in self._store.entries() if entry.process is not None]
        live.sort(key=lambda entry: _rank(entry.instrument))
        for instrument, entries in groupby(live, key=lambda entry: entry.instrument):
            name = names.claim(instrument)
            if name:
                yield _header(name, instrument, form)
                yield from self._family(name, entries)
            else:
                self._drops.count("exposition", "name_collision")
        if form.is_openmetrics:
            yield "# EOF\n"

    def _family(self, name: str, entries: Iterable[Entry]) -> Iterator[str]:
        seen: set[str] = set()
        for entry in entries:
            labels = _labels(entry)
            if labels in seen:
                self._drops.count("exposition", "name_collision")
            else:
                seen.add(labels)
                yield _samples(name, entry, labels)

    def _own(self) -> Iterator[tuple[Instrument, list[str]]]:
        sizes = {"series": self._store.held, "traces": len(self._ring), "trace_bytes": self._ring.size}
        for name, size in sizes.items():
            gauge = Instrument(f"trunkline_monitor_{name}", "", Kind.GAUGE, "What the monitor holds")
            yield gauge, [f"{gauge.name} {size}\n"]
        dropped = Instrument("trunkline_monitor_dropped", "", Kind.COUNTER, "What the monitor did not keep")
        yield (
            dropped,
            [
                f'{dropped.name}_total{{signal="{signal}",reason="{reason}"}} {count}\n'
                for (signal, reason), count in sorted(self._drops.counts().items())
            ],
        )


class _Names:
    """Which samples' names are taken."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._taken = {name for each in instruments for name in _sample_names(family_name(each), each.kind)}

    def claim(self, instrument: Instrument) -> str:
        """Return a family name that is free, "" where there is none.

        Instruments whose names differ only in what Prometheus cannot write, such as the units {request} and
        {token}, keep apart: the later one carries its unit or its kind as well.
        """
        name = family_name(instrument)
        unit = f"{name}_{label_name(instrument.unit)}" if instrument.unit else name
        for candidate in (name, unit, f"{name}_{instrument.kind.value}"):
            wanted = _sample_names(candidate, instrument.kind)
            if self._taken.isdisjoint(wanted):
                self._taken.update(wanted)
                return candidate
        return ""


def _sample_names(family: str, kind: Kind) -> set[str]:
    return {family, *(family + suffix for suffix in _SUFFIXES[kind])}


def _rank(instrument: Instrument) -> tuple[str, str, str]:
    return (instrument.name, instrument.unit, instrument.kind.value)


def _header(name: str, instrument: Instrument, form: Format) -> str:
    # The older format calls a counter's family by the name of its sample.
    family = f"{name}_total" if instrument.kind is Kind.COUNTER and not form.is_openmetrics else name
    words = instrument.description.translate(_ESCAPES if form.is_openmetrics else _HELP_ESCAPES)
    return f"# HELP {family} {words}\n# TYPE {family} {instrument.kind.value}\n"


def _labels(entry: Entry) -> str:
    """Return a series' labels as they stand between the braces, sorted."""
    labels: dict[str, str] = {}
    for key, value in entry.attributes:
        name = label_name(key)
        name = f"exported_{name}" if name in _RESERVED else name
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    labels["service"] = entry.service
    labels["instance"] = entry.process.origin.instance if entry.process else ""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items()))


def _samples(name: str, entry: Entry, labels: str) -> str:
    series = entry.series
    if isinstance(series, Counter):
        return f"{name}_total{{{labels}}} {series.value!r}\n"
    if isinstance(series, Gauge):
        return f"{name}{{{labels}}} {series.value!r}\n"
    return "".join(_histogram(name, series, labels))


def _histogram(name: str, series: Distribution, labels: str) -> Iterator[str]:
    bounds = (*map(repr, series.bounds), "+Inf")
    for bound, below in zip(bounds, accumulate(series.counts), strict=True):
        yield f'{name}_bucket{{{labels},le="{bound}"}} {below}\n'
    # A sum that may fall is no counter: where measurements may be negative, neither of these is wanted.
    if not series.bounds or series.bounds[0] >= 0:
        yield f"{name}_count{{{labels}}} {sum(series.counts)}\n"
        yield f"{name}_sum{{{labels}}} {series.total!r}\n"
