"""A trace as a terminal shows it: a tree of spans beside the bars of their times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from google.protobuf.duration_pb2 import Duration
from rich.bar import Bar
from rich.table import Table
from rich.text import Text
from trunkline.monitor.v1 import monitor_pb2 as pb

from services.monitor.terminal import plain, rpc, seconds, table

BAR_WIDTH = 32
LINKS_SHOWN = 4


@dataclass(frozen=True)
class Branch:
    """A span at its place in the tree: `first` goes before its name, `rest` before what belongs to it."""

    span: pb.Span
    first: str
    rest: str


def tree(spans: Sequence[pb.Span]) -> Iterator[Branch]:
    """Yield the spans depth first, siblings by start. A span whose parent is not here is a root."""
    known = {span.span_id for span in spans}
    children: dict[str, list[pb.Span]] = defaultdict(list)
    for span in sorted(spans, key=_start):
        children[span.parent_span_id if span.parent_span_id in known else ""].append(span)
    # Not recursive, since depth is the sender's to choose. Popping empties a place: no cycle is walked twice.
    waiting = [Branch(span, "", "") for span in reversed(children.pop("", []))]
    while waiting:
        branch = waiting.pop()
        yield branch
        below = children.pop(branch.span.span_id, [])
        for index, span in enumerate(reversed(below)):
            first, rest = ("└─ ", "   ") if index == 0 else ("├─ ", "│  ")
            waiting.append(Branch(span, branch.rest + first, branch.rest + rest))
    yield from (Branch(span, "", "") for cycle in children.values() for span in cycle)


def trace(found: pb.GetTraceResponse) -> Table:
    """Return the tree of a trace that has spans."""
    begin = min(map(_start, found.spans))
    end = max(_start(span) + span.duration.ToNanoseconds() for span in found.spans)
    whole = Duration()
    whole.FromNanoseconds(end - begin)
    shown = table(
        f"Trace {found.trace_id}  {seconds(whole)}, {len(found.spans)} spans",
        ("span", "service"),
        ("start", "duration"),
    )
    shown.add_column("", width=BAR_WIDTH)
    for branch in tree(found.spans):
        _add(shown, branch, begin, end)
    return shown


def summaries(traces: Sequence[pb.TraceSummary]) -> Table:
    """Return traces, a line each."""
    shown = table("Traces", ("trace", "root", "began"), ("duration", "spans"))
    for each in traces:
        began = each.start_time.ToDatetime(tzinfo=UTC).astimezone()
        name = plain(rpc(each.root), "red" if each.failed else "")
        shown.add_row(each.trace_id, name, f"{began:%H:%M:%S}", seconds(each.duration), str(each.spans))
    return shown


def _add(shown: Table, branch: Branch, begin: int, end: int) -> None:
    span, offset = branch.span, Duration()
    start = _start(span) - begin
    offset.FromNanoseconds(start)
    length = span.duration.ToNanoseconds()
    # Even the shortest span is to be seen: half a cell at least.
    least = (end - begin) / BAR_WIDTH / 2 or 1.0
    bar = Bar(
        max(end - begin, 1),
        start,
        start + max(length, least),
        width=BAR_WIDTH,
        color="red" if span.error else "cyan",
    )
    shown.add_row(_name(branch), plain(span.service), f"+{seconds(offset)}", seconds(span.duration), bar)


def _name(branch: Branch) -> Text:
    span = branch.span
    shown = Text.assemble((branch.first, "dim"))
    shown.append_text(plain(rpc(span.name), "red" if span.error else ""))
    if span.kind not in {"", "internal"}:
        shown.append_text(plain(f" {span.kind}", "dim"))
    if span.error:
        shown.append_text(plain(f" {span.error}", "red"))
    for line in _links(span.links):
        shown.append_text(Text(f"\n{branch.rest}   {line}", "dim"))
    return shown


def _links(links: Sequence[pb.SpanLink]) -> Iterator[str]:
    for link in links[:LINKS_SHOWN]:
        yield f"linked to {link.trace_id} {link.span_id}"
    if len(links) > LINKS_SHOWN:
        yield f"and to {len(links) - LINKS_SHOWN} more"


def _start(span: pb.Span) -> int:
    return span.start_time.ToNanoseconds()
