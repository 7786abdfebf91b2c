"""What a terminal shows: a console, text that a terminal cannot obey, and figures as people read them."""

from __future__ import annotations

import os
import unicodedata

from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe or a file has no width: wide enough that no row of a usual mesh is broken.
UNBOUNDED_WIDTH = 160
NOTHING = "-"


def console() -> Console:
    """Return a console on standard output."""
    found = Console(highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, width=UNBOUNDED_WIDTH)
    return found


def plain(text: str, style: str = "") -> Text:
    """Return text without control characters and without markup."""
    return Text("".join(letter for letter in text if unicodedata.category(letter)[0] != "C"), style)


def table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    """Return an empty table; the columns of `right` hold figures."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in left:
        made.add_column(heading, header_style="dim")
    for heading in right:
        made.add_column(heading, header_style="dim", justify="right", no_wrap=True)
    return made


def seconds(value: Duration) -> str:
    """Return a duration to three digits or fewer: `850 µs`, `12.3 ms`, `1.20 s`, `83 s`."""
    amount = value.ToNanoseconds() / 1e9
    if amount >= 10:
        return f"{amount:.0f} s"
    if amount >= 1:
        return f"{amount:.2f} s"
    if amount >= 0.1:
        return f"{amount * 1e3:.0f} ms"
    return f"{amount * 1e3:.1f} ms" if amount >= 0.001 else f"{amount * 1e6:.0f} µs"


def size(count: int) -> str:
    """Return a number of bytes: `640 KiB`, `1.2 GiB`."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1_000 and len(units) > 1:
        amount /= 1_024
        units.pop(0)
    return f"{amount:.1f} {units[0]}" if 0 < amount < 10 and units[0] != "B" else f"{amount:.0f} {units[0]}"


def rate(value: float) -> str:
    """Return an amount a second; nothing at all is a dash."""
    if not value:
        return NOTHING
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def rpc(name: str) -> str:
    """Return an rpc without its package: `InferenceService/Generate`. Other names stay as they are."""
    service, slash, method = name.rpartition("/")
    return f"{service.rpartition('.')[2]}{slash}{method}"
