"""English prose that every Python carries: the reference's own help texts."""

from __future__ import annotations

import re
from functools import cache
from pydoc_data.topics import topics


@cache
def prose() -> str:
    """Return about half a million characters of prose."""
    return "\n\n".join(topics[name] for name in sorted(topics))


@cache
def sentences() -> tuple[str, ...]:
    """Return sentences of 2 to 120 words, in a fixed order."""
    found = (" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+", prose()))
    return tuple(sentence for sentence in found if 2 <= len(sentence.split()) <= 120)
