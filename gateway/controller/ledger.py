"""The writes that were done, by their request id, so that a retry gets the first outcome."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.kit.errors import AlreadyExists, Reason

# A retry comes within seconds; operators do not write this often.
REMEMBERED = 256


@dataclass(frozen=True)
class Entry:
    """A write that was done."""

    request_id: str
    content: str
    """What `digest` made of the write."""
    revision: int
    """Its outcome."""


class Ledger:
    """The last REMEMBERED writes."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = OrderedDict((each.request_id, each) for each in entries)

    def outcome(self, request_id: str, content: str) -> int | None:
        """Return the revision that a write gave, None if it is new.

        Raises AlreadyExists (REQUEST_ID_REUSED) where the id stands for another write.
        """
        entry = self._entries.get(request_id)
        if entry is None:
            return None
        if entry.content != content:
            raise AlreadyExists(
                Reason.REQUEST_ID_REUSED,
                "this request id was used for another write; choose a new one for each",
                metadata={"request_id": request_id},
            )
        return entry.revision

    def with_entry(self, entry: Entry) -> Ledger:
        """Return a ledger with one more write, the oldest forgotten where there are too many."""
        return Ledger([*self, entry][-REMEMBERED:])

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())


def digest(write: object) -> str:
    """Return what tells one write from another; `write` is a dataclass of plain values."""
    return hashlib.sha256(repr(write).encode()).hexdigest()
