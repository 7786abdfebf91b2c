"""Artefacts are fetched once, checked, kept, and fetched again when they could not be had."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest
from tokenizers import Tokenizer, models

from gateway.front.artifacts import Artifacts
from gateway.front.vocabulary import ArtifactFormat
from services.kit.errors import Reason, Unavailable


def artefact(word: str) -> bytes:
    return Tokenizer(models.WordLevel({word: 0, "<unk>": 1}, unk_token="<unk>")).to_str().encode()


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


class Shelf:
    """A tokenizer service's artefacts."""

    def __init__(self, *artefacts: bytes) -> None:
        self.artefacts = {digest_of(each): each for each in artefacts}
        self.fetched: list[str] = []
        self.down = False
        self.tried, self.served = asyncio.Event(), asyncio.Event()

    async def fetch(self, digest: str) -> tuple[ArtifactFormat, bytes]:
        self.fetched.append(digest)
        self.tried.set()
        if self.down:
            raise Unavailable(Reason.TOKENIZER_UNAVAILABLE, "down")
        await asyncio.sleep(0)
        self.served.set()
        return ArtifactFormat.HF_TOKENIZER_JSON, self.artefacts[digest]


async def test_concurrent_callers_share_one_fetch() -> None:
    one = artefact("Oslo")
    shelf = Shelf(one)
    artifacts = Artifacts(shelf.fetch, capacity=2)
    found = await asyncio.gather(*(artifacts.vocabulary(digest_of(one)) for _ in range(9)))
    assert {each.decode([0]) for each in found} == {"Oslo"}
    assert await artifacts.vocabulary(digest_of(one)) is found[0]
    assert len(shelf.fetched) == 1


async def test_a_caller_who_leaves_does_not_end_the_others_fetch() -> None:
    one = artefact("Oslo")
    shelf = Shelf(one)
    artifacts = Artifacts(shelf.fetch, capacity=2)
    leaves, stays = (asyncio.create_task(artifacts.vocabulary(digest_of(one))) for _ in range(2))
    await shelf.tried.wait()
    leaves.cancel()
    assert (await stays).decode([0]) == "Oslo"


async def test_only_the_last_used_are_kept() -> None:
    contents = [artefact(word) for word in ("Oslo", "Paris", "Rome")]
    oslo, paris, rome = map(digest_of, contents)
    shelf = Shelf(*contents)
    artifacts = Artifacts(shelf.fetch, capacity=2)
    for digest in (oslo, paris, oslo, rome, oslo, paris):
        await artifacts.vocabulary(digest)
    assert shelf.fetched == [oslo, paris, rome, paris]


async def test_bytes_with_another_digest_are_refused() -> None:
    shelf = Shelf()
    shelf.artefacts["0" * 64] = artefact("Oslo")
    with pytest.raises(Unavailable) as refusal:
        await Artifacts(shelf.fetch, capacity=2).vocabulary("0" * 64)
    assert refusal.value.reason == Reason.TOKENIZER_UNAVAILABLE


async def test_a_failed_fetch_is_not_kept() -> None:
    one = artefact("Oslo")
    shelf = Shelf(one)
    artifacts = Artifacts(shelf.fetch, capacity=2)
    shelf.down = True
    with pytest.raises(Unavailable):
        await artifacts.vocabulary(digest_of(one))
    shelf.down = False
    assert (await artifacts.vocabulary(digest_of(one))).decode([0]) == "Oslo"


async def test_what_is_routed_is_fetched_as_soon_as_it_can_be_had() -> None:
    one = artefact("Oslo")
    shelf = Shelf(one)
    shelf.down = True
    artifacts = Artifacts(shelf.fetch, capacity=2)
    artifacts.prefetch([digest_of(one)])
    await shelf.tried.wait()
    shelf.down = False
    async with asyncio.timeout(60):
        await shelf.served.wait()
    shelf.down = True
    assert (await artifacts.vocabulary(digest_of(one))).decode([0]) == "Oslo"
    await artifacts.close()
