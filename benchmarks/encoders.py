"""Encoders without any server around them: OpenVINO on sorted sentences, and our own on windows of them."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer

from benchmarks import report
from benchmarks.contestant import ContestantError, Process, Program, program
from benchmarks.embedders import Embedder
from benchmarks.figures import Rates
from benchmarks.own_engine import OwnEngine
from benchmarks.peers import models, places
from benchmarks.peers.models import ENCODER

WINDOW, MOST_TOKENS = 32, 256
P = TypeVar("P", bound=Process)


class Alone(StrEnum):
    """What is measured without a server."""

    OPENVINO = "OpenVINO bf16, all sentences sorted, batches of 32, sentences/s"
    OPENVINO_TEXT = "the same with tokenising, sentences/s"
    NATIVE = "own encoder, windows of 32 sentences, tokens/s"


class InProcess:
    """The two, started and halted; `figures` has what their turns have shown so far."""

    def __init__(
        self, running: contextlib.ExitStack, missing: dict[str, str], texts: Sequence[str], *, openvino: bool
    ) -> None:
        self._texts = list(texts)
        self._windows = list(_windows(texts))
        self._rates: dict[Alone, list[float]] = {}
        self.mean_tokens = sum(len(ids) for window in self._windows for ids in window) / len(texts)
        logs = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))

        def begun(what: str, start: Callable[[], P]) -> P | None:
            try:
                process = start()
            except ContestantError as error:
                missing[what] = str(error)
                return None
            running.callback(process.close)
            return process

        self._own = begun("own encoder", lambda: OwnEngine("own encoder", ENCODER, "auto", logs / "own"))
        self._openvino = begun("OpenVINO", lambda: _openvino(logs / "openvino")) if openvino else None
        self.take_turn()
        self._rates.clear()  # that was to warm up

    @property
    def figures(self) -> dict[Alone, Rates]:
        """What was measured, by round."""
        return {what: Rates(tuple(rates)) for what, rates in self._rates.items()}

    def take_turn(self) -> None:
        """Measure each once."""
        if self._openvino is not None:
            with self._openvino.turn():
                found = self._openvino.ask(sentences=self._texts, kept=0)
            self._note(Alone.OPENVINO, len(self._texts) / found["seconds"])
            self._note(Alone.OPENVINO_TEXT, len(self._texts) / found["with_tokenising"])
        if self._own is not None:
            with self._own.turn():
                seconds = self._own.encode(self._windows)
            self._note(Alone.NATIVE, self.mean_tokens * len(self._texts) / sum(seconds))

    def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Return OpenVINO's vectors; none where it is not there."""
        if self._openvino is None:
            return []
        with self._openvino.turn():
            made: list[Sequence[float]] = self._openvino.ask(sentences=list(texts), kept=len(texts))[
                "vectors"
            ]
        return made

    def rows(self) -> Iterator[list[str]]:
        """Yield the lines of their table."""
        for what, rates in self.figures.items():
            yield [str(what), f"{rates.rate:,.0f}", rates.by_round()]

    def told(self) -> dict[str, Any]:
        """Return what JSON says of them."""
        return {str(what): rates.told() for what, rates in self.figures.items()}

    def _note(self, what: Alone, rate: float) -> None:
        self._rates.setdefault(what, []).append(rate)
        report.progress(f"{rate:30,.0f}    {what}")


def nearness(everyone: Sequence[Embedder], texts: Sequence[str], alone: InProcess) -> dict[str, float]:
    """Return each contestant's least cosine to OpenVINO's vectors: all do the same work."""
    reference = alone.vectors(texts)
    least = {}
    for each in everyone if reference else ():
        with each.turn():
            made = each.vectors(texts)
        least[each.name] = round(min(map(cosine, made, reference)), 5)
    return least


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of two vectors."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def _openvino(log: Path) -> Program:
    if why := places.why_not("openvino") or places.why_not("minilm-openvino"):
        raise ContestantError(why)
    converted, source = models.path("minilm-openvino"), models.path(ENCODER)
    return Program("OpenVINO", program("openvino_encoder.py", converted, source, peer="openvino"), log)


def _windows(texts: Sequence[str]) -> Iterator[list[list[int]]]:
    tokenizer = Tokenizer.from_file(str(models.path(ENCODER) / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    ids = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    for start in range(0, len(ids), WINDOW):
        yield ids[start : start + WINDOW]
