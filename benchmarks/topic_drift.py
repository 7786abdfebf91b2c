"""A change of topic, in embeddings of real text, as the monitor's drift detectors see it.

Paragraphs of documentation are embedded by all-MiniLM-L6-v2 and drawn with repetition, as requests come: at
first about neural networks (docstrings of torch), later about mail, web and files (of Python's own packages).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import models
from benchmarks.sentences import prose
from services.monitor.detectors import kolmogorov_smirnov, psi
from services.monitor.detectors.mmd import MeanSketch, RandomFeatures, median_width
from services.monitor.detectors.quantile_sketch import QuantileSketch

FIRST = ("torch.nn.modules", "torch.optim")
SECOND = ("email", "http", "logging", "importlib", "unittest", "asyncio", "xml", "json", "urllib")
PARAGRAPHS, SHORT = 600, 400
WINDOW = 10_000
DIRECTIONS, BINS = 8, 10
ALPHA = 1e-6
SKETCH_ERROR = 2 * 1.7 / 400
Floats = NDArray[np.float64]


def topics() -> tuple[Floats, Floats]:
    """Return the vectors of both topics' paragraphs, [n, 384] each."""
    return _embed(_paragraphs(FIRST)), _embed(_paragraphs(SECOND))


@dataclass
class Watch:
    """A reference of vectors, and what tells of windows that differ from it.

    PSI and KS look along DIRECTIONS random directions, each with its share of ALPHA; MMD at the whole vector.
    """

    reference: Floats
    seed: int = 1
    _directions: Floats = field(init=False)
    _before: MeanSketch = field(init=False)

    def __post_init__(self) -> None:
        self._directions = np.random.default_rng(self.seed).standard_normal(
            (self.reference.shape[1], DIRECTIONS)
        )
        self._along = self.reference @ self._directions
        self._edges = np.quantile(self._along, np.arange(1, BINS) / BINS, axis=0)
        self._counts = [self._binned(self._along, each) for each in range(DIRECTIONS)]
        self._sketches = [QuantileSketch().absorb(column.tolist()) for column in self._along.T]
        self._features = RandomFeatures(self.reference.shape[1], median_width(self.reference[:300]))
        self._before = MeanSketch(self._features)
        self._before.observe(self.reference)

    def drifted(self, window: Floats) -> dict[str, bool]:
        """Return who calls a window [n, dimension] drifted."""
        along = window @ self._directions
        after = MeanSketch(self._features)
        after.observe(window)
        sizes = (len(self.reference), len(window))
        limit = psi.allowed(BINS, *sizes, ALPHA / DIRECTIONS)
        gap = kolmogorov_smirnov.allowed(*sizes, ALPHA / DIRECTIONS, SKETCH_ERROR)
        return {
            "PSI": any(
                psi.psi(self._counts[each], self._binned(along, each)) > limit for each in range(DIRECTIONS)
            ),
            "KS": any(
                kolmogorov_smirnov.gap(before, QuantileSketch().absorb(column.tolist())) > gap
                for before, column in zip(self._sketches, along.T, strict=True)
            ),
            "MMD": self._before.discrepancy(after) > self._before.allowed(len(window), ALPHA),
        }

    def _binned(self, along: Floats, direction: int) -> list[int]:
        places = np.searchsorted(self._edges[:, direction], along[:, direction])
        return [int(count) for count in np.bincount(places, minlength=BINS)]


def windows_until_found(first: Floats, second: Floats, share: float, tries: int) -> dict[str, list[float]]:
    """Return by detector, try by try, in which window from the change on it was found; inf: in none of two.

    The change, after which `share` of the requests are of the second topic, comes in the midst of a window.
    """
    numbers = np.random.default_rng(2)
    watch = Watch(draw(numbers, first, WINDOW))
    found: dict[str, list[float]] = {}
    for _ in range(tries):
        half = WINDOW // 2
        whole = mixed(numbers, first, second, share, WINDOW)
        torn = np.concatenate([draw(numbers, first, half), mixed(numbers, first, second, share, half)])
        told = [watch.drifted(torn), watch.drifted(whole)]
        for name in told[0]:
            hits = [at for at, each in enumerate(told, 1) if each[name]]
            found.setdefault(name, []).append(hits[0] if hits else np.inf)
    return found


def false_drifts(first: Floats, tries: int) -> dict[str, int]:
    """Return by detector how many of `tries` windows of the same topic were called drifted."""
    numbers = np.random.default_rng(3)
    watch = Watch(draw(numbers, first, WINDOW))
    told = [watch.drifted(draw(numbers, first, WINDOW)) for _ in range(tries)]
    return {name: sum(each[name] for each in told) for name in told[0]}


def draw(numbers: np.random.Generator, vectors: Floats, count: int) -> Floats:
    """Return `count` of the vectors, with repetition."""
    return vectors[numbers.integers(len(vectors), size=count)]


def mixed(numbers: np.random.Generator, first: Floats, second: Floats, share: float, count: int) -> Floats:
    """Return `count` vectors, `share` of them of the second topic."""
    others = round(share * count)
    return np.concatenate([draw(numbers, first, count - others), draw(numbers, second, others)])


def _paragraphs(sources: Sequence[str]) -> list[str]:
    def short() -> Iterator[str]:
        yield from (each for each in dict.fromkeys(prose(sources)) if len(each) <= SHORT)

    found = list(short())
    return found[:: max(len(found) // PARAGRAPHS, 1)][:PARAGRAPHS]


def _embed(texts: Sequence[str]) -> Floats:
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = str(models.path(models.ENCODER))
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = tokenizer(list(texts[start : start + 32]), padding=True, return_tensors="pt")
            mask = batch["attention_mask"][..., None]
            summed = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(summed).double().numpy())
    return np.concatenate(vectors)
