"""Pages of List rpcs (AIP-158): a token names the last key given, so pages stay right under changes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.kit.errors import invalid

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


def page(
    items: Iterable[T],
    key: Callable[[T], str],
    page_size: int,
    page_token: str,
    *,
    default: int = DEFAULT_PAGE_SIZE,
) -> tuple[list[T], str]:
    """Return one page of `items`, ordered by `key` (unique), and the next one's token ("" after the last).

    `page_size` 0 means `default`; above MAX_PAGE_SIZE it is MAX_PAGE_SIZE. Raises InvalidArgument for a
    negative size and for a token that this function did not make.
    """
    if page_size < 0:
        raise invalid("page_size", f"must be from 0 to {MAX_PAGE_SIZE}, not {page_size}")
    size = min(page_size or default, MAX_PAGE_SIZE)
    after = _decode(page_token) if page_token else None
    rest = sorted((item for item in items if after is None or key(item) > after), key=key)
    chosen = rest[:size]
    return chosen, _encode(key(chosen[-1])) if len(rest) > size else ""


@dataclass(frozen=True)
class Page:
    """A page that is asked for: of what a store gives in order, `limit` from after the key `after`."""

    size: int
    after: str

    @property
    def limit(self) -> int:
        """How many to read: one more than the page holds, to know whether there is another."""
        return self.size + 1

    def cut(self, found: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], str]:
        """Return the page out of the `limit` that were read, and the next one's token ("" after the last)."""
        chosen = found[: self.size]
        return chosen, _encode(key(chosen[-1])) if len(found) > self.size else ""


def page_of(page_size: int, page_token: str, *, default: int = DEFAULT_PAGE_SIZE) -> Page:
    """Return the page that is asked for, where a store can read from a key on. Raises as `page`."""
    if page_size < 0:
        raise invalid("page_size", f"must be from 0 to {MAX_PAGE_SIZE}, not {page_size}")
    return Page(min(page_size or default, MAX_PAGE_SIZE), _decode(page_token) if page_token else "")


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(b"after:" + key.encode()).decode()


def _decode(token: str) -> str:
    try:
        kind, _, key = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        kind = ""
    if kind != "after":
        raise invalid("page_token", "must be the next_page_token of an earlier answer")
    return key
