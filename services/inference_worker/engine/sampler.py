"""Chooses a sequence's next token from its logits.

Nothing here depends on who shares the step: a row is shaped by its own parameters and drawn with its own
random number, one a token. The order is the field's: penalties, temperature, top-k, top-p (Holtzman et al.,
2020), min-p (Nguyen et al., 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.inference_worker.engine.batch import Doubles, Floats
from services.inference_worker.engine.sequence import Sequence
from services.inference_worker.wire import Sampling, TokenLogprob

Places: TypeAlias = NDArray[np.int64]
Logits: TypeAlias = Floats | Doubles

_LOST = 1e-10
"""The share of all probability that may be left out unseen; a uniform number has steps of 1e-16."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The token chosen for a sequence and, where asked for, its log probability."""

    token: int
    logprob: TokenLogprob | None = None


def choose(logits: Floats, likeliest: int, sequence: Sequence) -> Choice:
    """Return the next token. `logits`, float32 [vocabulary], is highest at `likeliest` and not changed."""
    sampling = sequence.sampling
    shaped: Logits = logits
    if sequence.penalties is not None:
        shaped = sequence.penalties.shape(logits)
        likeliest = int(shaped.argmax())
    if sampling.temperature > 0:
        token = _draw(shaped, float(shaped[likeliest]), sampling, sequence.uniform())
    else:
        token = likeliest
    return Choice(token, None if sampling.logprobs is None else _logprob(logits, token, sampling.logprobs))


def _draw(logits: Logits, highest: float, sampling: Sampling, uniform: float) -> int:
    """Return a token by inverting the distribution's sum at `uniform`, from 0 to below 1."""
    with np.errstate(over="ignore", under="ignore"):
        tokens = _likely(logits, highest, sampling.temperature)
        chosen = logits if len(tokens) == len(logits) else logits[tokens]
        weights = np.exp((chosen - highest) / sampling.temperature)  # the likeliest one's is 1
    if 0 < sampling.top_k < len(weights):
        kept = _heaviest(weights, sampling.top_k)
        tokens, weights = tokens[kept], weights[kept]
    if sampling.top_p < 1:
        kept = _nucleus(weights, sampling.top_p)
        tokens, weights = tokens[kept], weights[kept]
    if sampling.min_p > 0:
        kept = np.flatnonzero(weights >= sampling.min_p)
        tokens, weights = tokens[kept], weights[kept]
    sums = weights.cumsum(dtype=np.float64)
    place = int(sums.searchsorted(uniform * sums[-1], side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


def _likely(logits: Logits, highest: float, temperature: float) -> Places:
    """Return the tokens, ascending, beside which all others together weigh less than `_LOST` of the first.

    A logit d below the highest weighs exp(-d / temperature): with d = temperature x ln(n / lost), n of them
    weigh less than `lost`. At low temperatures this leaves a handful of a vocabulary; where it leaves much
    of it, all are returned, for then picking costs more than it saves.
    """
    kind = logits.dtype.type
    cut = kind(highest - temperature * math.log(len(logits) / _LOST))
    likely = logits >= np.nextafter(cut, kind(-np.inf))
    few = 8 * np.count_nonzero(likely) <= len(logits)
    return np.flatnonzero(likely) if few else _everything(len(logits))


@lru_cache(maxsize=4)
def _everything(count: int) -> Places:
    return np.arange(count)


def _heaviest(weights: Logits, count: int) -> Places:
    """Return the places of the `count` heaviest, ascending; of equals, the first."""
    least = np.partition(weights, len(weights) - count)[len(weights) - count]
    kept = np.flatnonzero(weights >= least)
    equals = np.flatnonzero(weights[kept] == least)
    return np.delete(kept, equals[len(equals) - (len(kept) - count) :])


def _nucleus(weights: Logits, share: float) -> Places:
    """Return the places of the fewest weights that reach `share` of the sum, heaviest first.

    What weighs less than (1 - share) / n of the sum is not among them: n of those do not make up the rest.
    So only what weighs more is sorted.
    """
    total = float(weights.sum(dtype=np.float64))
    heavy = np.flatnonzero(weights >= total * (1 - share) / len(weights) * (1 - 1e-6))
    heavy = heavy[np.argsort(-weights[heavy])]
    sums = weights[heavy].cumsum(dtype=np.float64)
    return heavy[: 1 + int(sums[:-1].searchsorted(share * total))]


def _logprob(logits: Floats, token: int, top: int) -> TokenLogprob:
    """Return the log probability before any shaping, and those of the `top` likeliest, highest first."""
    highest = float(logits.max())
    norm = highest + math.log(float(np.exp(logits - highest).sum(dtype=np.float64)))
    count = min(top, len(logits))
    head = _heaviest(logits, count) if count else _everything(0)
    head = head[np.argsort(-logits[head], kind="stable")]
    pairs = [(int(each), float(logits[each]) - norm) for each in head]
    return TokenLogprob(token, float(logits[token]) - norm, pairs)
