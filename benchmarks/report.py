"""A benchmark's page and its last line for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Goal


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def goals_table(goals: Iterable[Goal]) -> str:
    """Return the goals, how near each is, as a Markdown table."""
    return "\n".join(
        [
            "| goal | measured | required | measured ÷ required |",
            "| --- | --- | --- | --- |",
            *map(str, goals),
        ]
    )


def last_line(results: Any, goals: Iterable[Goal]) -> str:
    """Return results and ratios on one line; a ratio of 1 is its goal met."""
    ratios = {goal.name: round(goal.reached, 3) for goal in goals}
    return json.dumps({"results": results, "ratios": ratios}, ensure_ascii=False)


def progress(sentence: str) -> None:
    """Say on standard error how far it is."""
    print(sentence, file=sys.stderr, flush=True)


def write(path: Path, *paragraphs: str) -> None:
    """Write the page."""
    path.write_text("\n\n".join(paragraphs) + "\n")
