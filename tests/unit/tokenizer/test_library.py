from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.kit.errors import FailedPrecondition, NotFound, Reason, ResourceExhausted
from services.kit.settings import SettingsError
from services.store.catalogue import Catalogue, ModelSpec, Task
from services.store.tokenizer_files import TokenizerFormat
from services.tokenizer.library import Library

CATALOGUE = Catalogue(
    ModelSpec(name, f"file:///{name}", Task.EMBED, version=version)
    for name, version in (("a", "1"), ("b", "1"), ("b", "2"), ("bad", "1"), ("far", "1"))
)
BROKEN = FailedPrecondition(Reason.MODEL_SOURCE_INVALID, "no such file")


@dataclass
class Loaded:
    """A tokenizer as far as the library looks."""

    spec: ModelSpec
    digest: str = ""
    format: TokenizerFormat = TokenizerFormat.HF_TOKENIZER_JSON
    path: Path = Path("/tokenizer.json")
    closed: bool = False

    async def close(self) -> None:
        self.closed = True


@dataclass
class Shelf:
    """Loads what is not bad; `far` only when it has arrived."""

    loads: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 0.0

    def cached(self, spec: ModelSpec) -> bool:
        return spec.name != "far"

    async def load(self, spec: ModelSpec) -> Loaded:
        self.loads.append(f"{spec.name}:{spec.version}")
        if spec.name == "far":
            await self.arrived.wait()
        if spec.name == "bad":
            raise BROKEN
        return Loaded(spec, digest=f"digest of {spec.name}:{spec.version}")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def library(shelf: Shelf) -> AsyncIterator[Library]:
    library = Library(lambda: CATALOGUE, shelf, waiting_limit=2, clock=lambda: shelf.now)
    yield library
    await library.close()


async def test_a_tokenizer_is_loaded_once_when_it_is_first_wanted(library: Library, shelf: Shelf) -> None:
    first, second = await asyncio.gather(library.get("b"), library.get("b"))
    assert first is second is await library.get("b")
    assert shelf.loads == ["b:2"]


async def test_a_caller_that_goes_away_does_not_end_the_load(library: Library, shelf: Shelf) -> None:
    gone, stays = asyncio.create_task(library.get("far")), asyncio.create_task(library.get("far"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    shelf.arrived.set()
    assert (await stays).spec.name == "far"
    assert shelf.loads == ["far:1"]


async def test_a_failed_load_is_tried_again_after_its_back_off_which_grows(
    library: Library, shelf: Shelf
) -> None:
    for now, loads in ((0.0, 1), (0.9, 1), (1.0, 2), (2.9, 2), (3.0, 3), (6.9, 3), (7.0, 4)):
        shelf.now = now
        with pytest.raises(FailedPrecondition):
            await library.get("bad")
        assert len(shelf.loads) == loads


async def test_only_so_many_calls_wait_for_a_load(library: Library, shelf: Shelf) -> None:
    waiting = [asyncio.create_task(library.get("far")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as refused:
        await library.get("far")
    shelf.arrived.set()
    assert refused.value.reason == Reason.QUEUE_FULL
    assert len(await asyncio.gather(*waiting)) == 2


async def test_preloading_waits_for_what_is_here_and_not_for_a_download(
    library: Library, shelf: Shelf
) -> None:
    async with asyncio.timeout(60):
        await library.preload(["a", "far", "bad"])
    assert sorted(shelf.loads) == ["a:1", "bad:1", "far:1"]
    assert (await library.get("a")).spec.name == "a"
    shelf.arrived.set()
    assert (await library.get("far")).spec.name == "far"
    assert len(shelf.loads) == 3


async def test_a_model_that_nobody_knows_is_refused_at_start_and_when_asked_for(library: Library) -> None:
    library.check(["a", "b"])
    with pytest.raises(SettingsError, match="TRUNKLINE_MODELS cannot be used: No model is named 'c'"):
        library.check(["a", "c"])
    with pytest.raises(NotFound):
        await library.get("c")


async def test_what_is_here_is_listed_by_name_and_nothing_is_downloaded(
    library: Library, shelf: Shelf
) -> None:
    assert [each.spec.name for each in await library.available()] == ["a", "b"]
    assert "far:1" not in shelf.loads


async def test_an_artefact_of_any_version_is_found_by_its_digest(library: Library, shelf: Shelf) -> None:
    await library.get("b")
    assert (await library.artifact("digest of b:2")).model == "b"
    assert shelf.loads == ["b:2"]
    assert (await library.artifact("digest of b:1")).model == "b"
    with pytest.raises(NotFound) as missing:
        await library.artifact("digest of far:1")
    assert missing.value.reason == Reason.ARTIFACT_NOT_FOUND
    assert "far:1" not in shelf.loads


async def test_closing_closes_what_is_loaded_and_ends_what_loads(library: Library, shelf: Shelf) -> None:
    loaded = await library.get("a")
    waiting = asyncio.create_task(library.get("far"))
    await asyncio.sleep(0)
    await library.close()
    assert loaded.closed
    with pytest.raises(asyncio.CancelledError):
        await waiting
