"""Watchers hear of a state at once, of figures soon, and miss nothing."""

from __future__ import annotations

import asyncio

from services.inference_worker.changes import FIGURES_S, LONGEST_S, Changes


async def waited(changes: Changes, moment: object) -> float:
    began = asyncio.get_running_loop().time()
    await changes.since(moment)  # type: ignore[arg-type]
    return asyncio.get_running_loop().time() - began


async def test_a_state_that_changed_before_the_wait_is_not_missed():
    changes = Changes()
    moment = changes.now()
    changes.state()
    assert await waited(changes, moment) < FIGURES_S


async def test_every_watcher_hears_of_a_state_at_once():
    changes = Changes()
    watchers = [asyncio.create_task(waited(changes, changes.now())) for _ in range(3)]
    await asyncio.sleep(0)
    changes.state()
    assert max(await asyncio.gather(*watchers)) < FIGURES_S


async def test_figures_are_heard_of_together():
    changes = Changes()
    moment = changes.now()
    changes.figures()
    changes.figures()
    assert FIGURES_S / 2 < await waited(changes, moment) < LONGEST_S


async def test_something_is_heard_when_nothing_happens():
    changes = Changes()
    assert LONGEST_S / 2 < await waited(changes, changes.now()) < 3 * LONGEST_S
