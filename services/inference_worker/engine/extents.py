"""Places in the cache: runs of tokens, handed out first fit and merged when they come back."""

from __future__ import annotations

from bisect import bisect_left


class Extents:
    """The free runs of a cache of `total` tokens. One owner; nothing here waits."""

    def __init__(self, total: int) -> None:
        if total <= 0:
            raise ValueError(f"a cache holds at least one token, not {total}")
        self.total = total
        self.free = total
        self._runs: list[tuple[int, int]] = [(0, total)]  # (offset, length), by offset, never touching

    def allocate(self, length: int) -> int | None:
        """Return the offset of a run of `length` tokens, or None where no free run is that long."""
        for index, (offset, room) in enumerate(self._runs):
            if room >= length:
                self._runs[index : index + 1] = [(offset + length, room - length)] if room > length else []
                self.free -= length
                return offset
        return None

    def release(self, offset: int, length: int) -> None:
        """Give a run back; it merges with its free neighbours."""
        index = bisect_left(self._runs, (offset, 0))
        first, last = index, index
        start, end = offset, offset + length
        if index > 0 and sum(self._runs[index - 1]) == start:
            first, start = index - 1, self._runs[index - 1][0]
        if index < len(self._runs) and self._runs[index][0] == end:
            last, end = index + 1, sum(self._runs[index])
        self._runs[first:last] = [(start, end - start)]
        self.free += length
