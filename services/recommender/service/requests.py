"""Request ids of trainings, so that a retry finds the first one's outcome."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from services.kit.errors import AlreadyExists, Reason

KEPT = 1_000


class Requests:
    """Which operation a request id began, and with what; the last thousand."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    def once(self, request_id: str, content: bytes, begin: Callable[[], str]) -> str:
        """Return the operation of this request id: that of its first use, else what `begin` returns.

        Raises AlreadyExists (REQUEST_ID_REUSED) where the id came with another content.
        """
        known = self._known.get(request_id)
        if known is not None:
            if known[0] != content:
                raise AlreadyExists(
                    Reason.REQUEST_ID_REUSED,
                    f"the request id {request_id} was used before, with another content",
                    metadata={"request_id": request_id},
                )
            return known[1]
        operation_id = begin()
        self._known[request_id] = (content, operation_id)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return operation_id
