"""Tokenizer artefacts: fetched by digest once, checked, kept ready for detokenising."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256

from gateway.following import FIRST_PAUSE_S, LONGEST_PAUSE_S
from gateway.front.vocabulary import ArtifactFormat, Vocabulary, vocabulary
from services.kit.errors import Reason, TrunklineError, Unavailable

# Takes a digest; returns the artefact's format and bytes. Raises TrunklineErrors.
FetchRpc = Callable[[str], Awaitable[tuple[ArtifactFormat, bytes]]]

_LOGGER = logging.getLogger(__name__)


class Artifacts:
    """Vocabularies by digest: the `capacity` last used, 1 or more. `close` ends what is under way."""

    def __init__(self, fetch: FetchRpc, capacity: int) -> None:
        self._fetch = fetch
        self._capacity = capacity
        self._kept: OrderedDict[str, Vocabulary] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[Vocabulary]] = {}
        self._wanted: frozenset[str] = frozenset()
        self._prefetching: dict[str, asyncio.Task[None]] = {}

    async def vocabulary(self, digest: str) -> Vocabulary:
        """Return the vocabulary in the artefact of this digest; concurrent callers share one fetch.

        Raises Unavailable TOKENIZER_UNAVAILABLE where it cannot be had, or is not what its digest says.
        """
        kept = self._kept.get(digest)
        if kept is not None:
            self._kept.move_to_end(digest)
            return kept
        task = self._fetching.get(digest)
        if task is None:
            # A context of its own: the fetch outlives the call that began it, and serves others.
            task = asyncio.get_running_loop().create_task(self._load(digest), context=contextvars.Context())
            self._fetching[digest] = task
            task.add_done_callback(lambda done: self._fetched(digest, done))
        return await asyncio.shield(task)

    def prefetch(self, digests: Collection[str]) -> None:
        """Fetch these in the background, again and again until they are there or no longer asked for."""
        self._wanted = frozenset(digests)
        for digest in self._wanted - self._kept.keys() - self._prefetching.keys():
            task = asyncio.create_task(self._prefetch(digest))
            self._prefetching[digest] = task
            task.add_done_callback(lambda _, digest=digest: self._prefetching.pop(digest))  # type: ignore[misc]

    async def close(self) -> None:
        """End what is under way."""
        tasks = [*self._prefetching.values(), *self._fetching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prefetch(self, digest: str) -> None:
        pause = FIRST_PAUSE_S
        while digest in self._wanted:
            try:
                await self.vocabulary(digest)
            except TrunklineError as error:
                _LOGGER.debug("artefact not fetched", extra={"digest": digest, "cause": repr(error)})
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _load(self, digest: str) -> Vocabulary:
        format_, artifact = await self._fetch(digest)
        try:
            return await asyncio.to_thread(_checked, digest, format_, artifact)
        except ValueError as error:
            _LOGGER.error("artefact unusable", extra={"digest": digest, "cause": str(error)})  # noqa: TRY400
            raise Unavailable(
                Reason.TOKENIZER_UNAVAILABLE, "the tokenizer's artefact is unusable; the log says why"
            ) from error

    def _fetched(self, digest: str, task: asyncio.Task[Vocabulary]) -> None:
        del self._fetching[digest]
        if task.cancelled() or task.exception():
            return
        self._kept[digest] = task.result()
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


def _checked(digest: str, format_: ArtifactFormat, artifact: bytes) -> Vocabulary:
    found = sha256(artifact).hexdigest()
    if found != digest:
        raise ValueError(f"its bytes have the digest {found}")
    return vocabulary(format_, artifact)
