"""An engine hangs when it owes answers and has been silent for too long, and only then."""

from __future__ import annotations

import asyncio

from services.inference_worker.watchdog import LOOKS, Watchdog


class Engine:
    """An engine as the watchdog sees it."""

    def __init__(self) -> None:
        self.owing = True
        self.heard = 7
        self.watchdog = Watchdog(60.0, lambda: self.owing, lambda: self.heard)

    def looks(self, times: int) -> list[bool]:
        return [self.watchdog.look() for _ in range(times)]


def test_silence_while_answers_are_due_is_a_hang():
    engine = Engine()
    assert engine.looks(LOOKS) == [False] * LOOKS
    assert engine.looks(1) == [True]


def test_a_word_now_and_then_is_enough():
    engine = Engine()
    for _ in range(5):
        assert True not in engine.looks(LOOKS - 1)
        engine.heard += 1
    assert True not in engine.looks(LOOKS)


def test_an_engine_that_owes_nothing_may_be_silent():
    engine = Engine()
    engine.owing = False
    assert True not in engine.looks(10 * LOOKS)
    engine.owing = True
    assert True not in engine.looks(LOOKS - 1), "silence counts from when something is due"


async def test_it_barks_at_each_hang_once():
    barks: list[int] = []
    barked = asyncio.Event()

    async def bark() -> None:
        barks.append(len(barks))
        if len(barks) == 2:
            barked.set()

    watching = asyncio.create_task(Watchdog(0.01, lambda: True, lambda: 0).watch(bark))
    async with asyncio.timeout(30):
        await barked.wait()
    watching.cancel()
    assert barks[:2] == [0, 1]
