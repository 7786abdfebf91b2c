"""Where what an engine says of one request waits for its reader: everything that waits leaves as one."""

from __future__ import annotations

import asyncio

from services.inference_worker.wire import Finish, Output, TokenLogprob, Vectors
from services.kit.errors import DeadlineExceeded, Internal, Reason, TrunklineError


class Mailbox:
    """One request's answer on its way. A slow reader costs the answer's own tokens, never more."""

    def __init__(self, request_id: int, model: str) -> None:
        self.id = request_id
        self.model = model
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._finish: Finish | None = None
        self._vectors: Vectors | None = None
        self._error: TrunklineError | None = None
        self._arrived = asyncio.Event()

    def deliver(self, output: Output) -> bool:
        """Put an output in; return whether it is the request's last."""
        self._tokens += output.tokens
        self._logprobs += output.logprobs
        self._finish = output.finish
        self._vectors = output.vectors
        if output.failure == "deadline":
            self._error = DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline has passed")
        elif output.failure:
            self._error = Internal(
                Reason.INTERNAL, "the engine failed at this request; its log has the cause"
            )
        self._arrived.set()
        return bool(output.finish or output.vectors or output.failure)

    def fail(self, error: TrunklineError) -> None:
        """End the request with `error`; what waits is dropped."""
        self._error = error
        self._arrived.set()

    async def take(self) -> Output:
        """Return all that came since the last call, as one; waits for something. Raises what `fail` got."""
        await self._arrived.wait()
        if self._error is not None:
            raise self._error
        output = Output(self.id, self._tokens, self._logprobs, self._finish, self._vectors)
        self._tokens, self._logprobs = [], []
        self._arrived.clear()
        return output


class Mailboxes:
    """The requests that one engine has been given and has not answered, by id and by model."""

    def __init__(self) -> None:
        self._by_id: dict[int, Mailbox] = {}
        self._models: dict[str, set[int]] = {}
        self._emptied = asyncio.Event()

    def open(self, request_id: int, model: str) -> Mailbox:
        """Return a new mailbox, which stays until its last output, `close` or `fail`."""
        mailbox = self._by_id[request_id] = Mailbox(request_id, model)
        self._models.setdefault(model, set()).add(request_id)
        return mailbox

    def deliver(self, output: Output) -> None:
        """Put an output where it belongs; one for a request that was cancelled is dropped."""
        mailbox = self._by_id.get(output.id)
        if mailbox is not None and mailbox.deliver(output):
            self.close(output.id)

    def close(self, request_id: int) -> bool:
        """Forget a request; return whether it was still open."""
        mailbox = self._by_id.pop(request_id, None)
        if mailbox is None:
            return False
        self._models[mailbox.model].discard(request_id)
        if not self._models[mailbox.model]:
            del self._models[mailbox.model]
            self._emptied.set()
        return True

    def fail(self, error: TrunklineError) -> None:
        """End all requests with `error`."""
        for mailbox in list(self._by_id.values()):
            mailbox.fail(error)
            self.close(mailbox.id)

    def count(self, model: str) -> int:
        """Return how many requests of a model are open."""
        return len(self._models.get(model, ()))

    async def empty(self, model: str) -> None:
        """Return when a model has no open request."""
        while self.count(model):
            self._emptied.clear()
            await self._emptied.wait()
