"""Arrays that grow by rows: room is doubled, so a row costs the same however many there are."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)

_FIRST = 1_024


class Growing(Generic[S]):
    """One value a row; new rows have `fill`."""

    def __init__(self, kind: type[S], fill: Any, size: int = 0) -> None:
        self._fill = fill
        self._room: NDArray[S] = np.full(max(size, _FIRST), fill, kind)
        self.array: NDArray[S] = self._room[:size]
        """(rows,): a view; whoever keeps it sees changes of its rows, not new rows."""

    def __setitem__(self, row: int | NDArray[np.int32], value: Any) -> None:
        self.array[row] = value

    def grow(self, size: int) -> None:
        """Have at least `size` rows."""
        if size <= len(self.array):
            return
        if size > len(self._room):
            room: NDArray[S] = np.full(max(size, 2 * len(self._room)), self._fill, self._room.dtype)
            room[: len(self.array)] = self.array
            self._room = room
        self.array = self._room[:size]
