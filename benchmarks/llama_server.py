"""llama.cpp's server as a contestant: the same Q4_1 file, streamed over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks.contestant import ContestantError, Process
from benchmarks.figures import Wave
from benchmarks.peers import llama_cpp
from benchmarks.quiet import CORES

SLOTS, SLOT_TOKENS, START_SECONDS = 32, 512, 60.0


class LlamaServer(Process):
    """Continuous batching over 32 slots, as many threads as there are cores, no cache of prompts."""

    def __init__(self, name: str, model: Path, port: int, log: Path) -> None:
        slots = f"-np {SLOTS} -c {SLOTS * SLOT_TOKENS}"
        options = f"--port {port} --no-webui {slots} -t {CORES} -tb {CORES}".split()
        super().__init__(name, [str(llama_cpp.server()), "-m", str(model), *options], log)
        self._url = f"http://127.0.0.1:{port}"
        self._runner = asyncio.Runner()
        self._runner.run(self._ready())

    def wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        """As the protocol of Generator has it."""
        return self._runner.run(self._wave(prompts, new_tokens))

    async def _wave(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Wave:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        unhurried = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(self._url, connector=connector, timeout=unhurried) as session:
            began = time.perf_counter()
            answers = (self._answer(session, each, new_tokens, began) for each in prompts)
            return Wave(await asyncio.gather(*answers))

    async def _answer(
        self, session: aiohttp.ClientSession, prompt: Sequence[int], new_tokens: int, began: float
    ) -> list[float]:
        asked = {"prompt": list(prompt), "n_predict": new_tokens, "ignore_eos": True, "temperature": 0}
        wanted = {**asked, "cache_prompt": False, "stream": True}
        times: list[float] = []
        async with session.post("/completion", json=wanted) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    # Not one a token: what is not whole characters yet is kept back.
                    made = event["tokens_predicted"] - len(times)
                    times += [time.perf_counter() - began] * made
        if len(times) < new_tokens:
            raise ContestantError(f"{self.name} gave {len(times)} tokens of {new_tokens}")
        return times

    async def _ready(self) -> None:
        async with aiohttp.ClientSession(self._url) as session:
            for _ in range(int(START_SECONDS * 10)):
                if self.running.poll() is not None:
                    raise self.failed("has ended")
                try:
                    async with session.get("/health") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.1)
        raise self.failed("does not answer")
