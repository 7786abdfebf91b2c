"""Who waits for a place, and who is next.

Between tenants, the one that has been served least (virtual token counters; Sheng et al., OSDI 2024); who
comes back after a pause has saved nothing up. Within a tenant by arrival, where a level of priority counts as
ten seconds of having waited: so the important go first and nobody waits for ever. Who was put back goes first
of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count

from services.inference_worker.engine.sequence import Sequence

_Entry = tuple[float, int, Sequence]  # rank, number of arrival

PRIORITY_SECONDS = 10.0
READ_COST = 1.0
"""What reading a token counts; making one takes more of the device, as in the paper."""
MADE_COST = 2.0

_REMEMBERED = 1_024  # tenants whose counters are kept while they want nothing


class WaitingLine:
    """The waiting sequences of one model. Each operation takes the logarithm of their number."""

    def __init__(self) -> None:
        self._waiting: set[Sequence] = set()
        self._back: deque[Sequence] = deque()
        self._lines: dict[str, list[_Entry]] = {}  # a heap a tenant, with entries of those who have left
        self._served: dict[str, float] = {}
        self._tenants: list[tuple[float, str]] = []  # a heap of who has a line, by what `_served` once was
        self._last = ""
        self._arrivals = count()
        self.tokens = 0
        """Tokens that those who wait have yet to read or make, at most."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._waiting

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence that has just arrived."""
        tenant, number = sequence.request.tenant, next(self._arrivals)
        if not self._prune(self._lines.get(tenant, [])):
            self._join(tenant)
        rank = sequence.request.accepted - PRIORITY_SECONDS * sequence.request.priority
        heappush(self._lines[tenant], (rank, number, sequence))
        self._count(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """Queue a sequence that had a place, before all others; who was put back last is first."""
        self._back.appendleft(sequence)
        self._count(sequence)

    def head(self) -> Sequence | None:
        """Return who is next, or None where nobody waits."""
        while self._back and self._back[0] not in self._waiting:
            self._back.popleft()
        if self._back:
            return self._back[0]
        tenant = self._next_tenant()
        return None if tenant is None else self._lines[tenant][0][2]

    def take(self) -> Sequence:
        """Remove and return who is next. Somebody must wait."""
        sequence = self.head()
        if sequence is None:
            raise LookupError("nobody waits")
        if self._back:
            self._back.popleft()
        else:
            self._last = sequence.request.tenant
            heappop(self._lines[self._last])
        self.remove(sequence)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that waits. Its entry goes when it comes to the head."""
        self._waiting.remove(sequence)
        self.tokens -= sequence.outstanding

    def charge(self, tenant: str, cost: float) -> None:
        """Count what a tenant was served."""
        self._served[tenant] = self._served.get(tenant, 0.0) + cost

    def _count(self, sequence: Sequence) -> None:
        self._waiting.add(sequence)
        self.tokens += sequence.outstanding

    def _join(self, tenant: str) -> None:
        """Level a tenant of whom nobody waited with the least served who wait, or the last one served."""
        first = self._next_tenant() or self._last
        if len(self._served) > _REMEMBERED:
            self._served = {each: self._served.get(each, 0.0) for each in (*self._lines, first, tenant)}
        self._served[tenant] = max(self._served.get(tenant, 0.0), self._served.get(first, 0.0))
        if tenant not in self._lines:
            self._lines[tenant] = []
            heappush(self._tenants, (self._served[tenant], tenant))

    def _next_tenant(self) -> str | None:
        """Return the tenant with a line that was served least. Counters only grow, so the top tells."""
        while self._tenants:
            seen, tenant = self._tenants[0]
            if not self._prune(self._lines[tenant]):
                heappop(self._tenants)
                del self._lines[tenant]
            elif (served := self._served[tenant]) > seen:
                heapreplace(self._tenants, (served, tenant))
            else:
                return tenant
        return None

    def _prune(self, line: list[_Entry]) -> list[_Entry]:
        """Drop entries of those who have left from the line's head; return the line."""
        while line and line[0][2] not in self._waiting:
            heappop(line)
        return line
