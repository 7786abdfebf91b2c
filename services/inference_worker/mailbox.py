"""Who waits for what an engine says: each request's mailbox, and all of them by id and by model."""

from __future__ import annotations

import asyncio
from typing import Protocol

from services.inference_worker.wire import Output
from services.kit.errors import DeadlineExceeded, Internal, Reason, TrunklineError


class Mailbox(Protocol):
    """Where one request's outputs go. Called in the event loop at every step: is quick, never raises."""

    def deliver(self, output: Output) -> None:
        """Take an output; the last one has a finish or vectors."""

    def fail(self, error: TrunklineError) -> None:
        """Take the news that there will be no more."""


class Mailboxes:
    """The requests that one engine has been given and has not answered, by id and by model."""

    def __init__(self) -> None:
        self._by_id: dict[int, tuple[str, Mailbox]] = {}
        self._models: dict[str, set[int]] = {}
        self._emptied = asyncio.Event()

    @property
    def waiting(self) -> bool:
        """Whether any request is open."""
        return bool(self._by_id)

    def open(self, request_id: int, model: str, mailbox: Mailbox) -> None:
        """Deliver to `mailbox` from now on, until its last output, `close` or `fail`."""
        self._by_id[request_id] = model, mailbox
        self._models.setdefault(model, set()).add(request_id)

    def deliver(self, output: Output) -> None:
        """Put an output where it belongs; one for a request that was cancelled is dropped."""
        found = self._by_id.get(output.id)
        if found is None:
            return
        _, mailbox = found
        if output.finish or output.vectors or output.failure:
            self.close(output.id)
        if output.failure:
            mailbox.fail(_failure(output.failure))
        else:
            mailbox.deliver(output)

    def close(self, request_id: int) -> bool:
        """Forget a request; return whether it was still open."""
        model, _ = self._by_id.pop(request_id, ("", None))
        if not model:
            return False
        self._models[model].discard(request_id)
        if not self._models[model]:
            del self._models[model]
            self._emptied.set()
        return True

    def fail(self, error: TrunklineError) -> None:
        """End all requests with `error`."""
        for request_id, (_, mailbox) in list(self._by_id.items()):
            self.close(request_id)
            mailbox.fail(error)

    def count(self, model: str) -> int:
        """Return how many requests of a model are open."""
        return len(self._models.get(model, ()))

    async def empty(self, model: str) -> None:
        """Return when a model has no open request."""
        while self.count(model):
            self._emptied.clear()
            await self._emptied.wait()


def _failure(kind: str) -> TrunklineError:
    if kind == "deadline":
        return DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline has passed")
    return Internal(Reason.INTERNAL, "the engine failed at this request; its log has the cause")
