"""Names as Prometheus has them, by OpenTelemetry's rules for translating its own."""

from __future__ import annotations

import re
from functools import lru_cache

from services.monitor.points import Instrument, Kind

_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "V": "volts", "A": "amperes", "W": "watts",
    "J": "joules", "Hz": "hertz", "Cel": "celsius", "g": "grams", "m": "meters", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "min": "minute", "h": "hour", "d": "day", "ms": "millisecond", "us": "microsecond"}
_OTHER = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"\{[^}]*\}")


def unit_name(unit: str, *, ratio: bool = False) -> str:
    """Return a UCUM unit in words: `s` is `seconds`, `By/s` is `bytes_per_second`, `{token}` is nothing."""
    if unit == "1":
        return "ratio" if ratio else ""
    amount, _, per = (part.strip() for part in _ANNOTATION.sub("", unit).partition("/"))
    words = _UNITS.get(amount, _clean(amount))
    return "_".join(filter(None, (words, f"per_{_PER.get(per, _clean(per))}" if per else "")))


@lru_cache(maxsize=4_096)
def family_name(instrument: Instrument) -> str:
    """Return the name of an instrument's family, without `_total`: `rpc_server_call_duration_seconds`."""
    name = _clean(instrument.name) or "unnamed"
    if instrument.kind is Kind.COUNTER:
        name = name.removesuffix("_total")
    unit = unit_name(instrument.unit, ratio=instrument.kind is Kind.GAUGE)
    if unit and not f"_{name}_".endswith(f"_{unit}_"):
        name = f"{name}_{unit}"
    return f"_{name}" if name[0].isdigit() else name


@lru_cache(maxsize=4_096)
def label_name(key: str) -> str:
    """Return an attribute's key as a label: `rpc.method` is `rpc_method`."""
    name = _clean(key) or "unnamed"
    return f"key_{name}" if name[0].isdigit() else name


def _clean(name: str) -> str:
    return _OTHER.sub("_", name).strip("_")
