"""Chooses the next token of each sequence from its logits.

Nothing here depends on who shares the step: each row is shaped by its own parameters and drawn with its own
random numbers. The order is the field's: penalties, temperature, top-k, top-p (Holtzman et al., 2020), min-p
(Nguyen et al., 2024).
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import Tensor

from services.inference_worker.engine.sequence import Sequence
from services.inference_worker.wire import Sampling, TokenLogprob

_NUCLEUS_SIZES = (256, 4_096)


@dataclass(frozen=True, slots=True)
class Choice:
    """The token chosen for a sequence and, where asked for, its log probability."""

    token: int
    logprob: TokenLogprob | None = None


def choose(logits: Tensor, sequences: Rows[Sequence]) -> list[Choice]:
    """Return a choice a sequence. `logits` is float32 [sequences, vocabulary] and is not changed."""
    likeliest = logits.argmax(-1).tolist()
    return [_choice(row, each, best) for row, each, best in zip(logits, sequences, likeliest, strict=True)]


def _choice(logits: Tensor, sequence: Sequence, likeliest: int) -> Choice:
    sampling = sequence.sampling
    shaped = _penalise(logits, sequence) if _penalises(sampling) else logits
    if sampling.temperature > 0:
        token = _draw(shaped, sampling, sequence.random.random())
    else:
        token = likeliest if shaped is logits else int(shaped.argmax())
    return Choice(token, _logprob(logits, token, sampling.logprobs))


def _penalises(sampling: Sampling) -> bool:
    changes = (sampling.repetition_penalty - 1, sampling.presence_penalty, sampling.frequency_penalty)
    return any(change != 0 for change in changes)


def _penalise(logits: Tensor, sequence: Sequence) -> Tensor:
    """Return the logits, in double, with the three penalties taken (repetition: Keskar et al., 2019)."""
    sampling, shaped = sequence.sampling, logits.double()
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted(set(sequence.tokens)), device=logits.device)
        values = shaped[seen]
        penalty = sampling.repetition_penalty
        shaped[seen] = torch.where(values > 0, values / penalty, values * penalty)
    if sequence.answer:
        made = torch.tensor(list(sequence.answer), device=logits.device)
        times = torch.tensor(list(sequence.answer.values()), device=logits.device, dtype=torch.double)
        shaped[made] -= sampling.presence_penalty + sampling.frequency_penalty * times
    return shaped


def _draw(logits: Tensor, sampling: Sampling, uniform: float) -> int:
    """Return a token by inverting the distribution's sum at `uniform`, from 0 to below 1."""
    weights = ((logits.double() - logits.max()) / sampling.temperature).exp()  # the likeliest one's is 1
    tokens = None
    if sampling.top_k or sampling.top_p < 1:
        weights, tokens = _nucleus(weights, sampling)
    if sampling.min_p > 0:
        weights = weights.where(weights >= sampling.min_p, 0.0)
    sums = weights.cumsum(0)
    place = int(torch.searchsorted(sums, uniform * sums[-1], right=True))
    place = min(place, weights.numel() - 1)
    return place if tokens is None else int(tokens[place])


def _nucleus(weights: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return the weights and tokens that top-k and then top-p keep, heaviest first.

    A full sort of a vocabulary takes milliseconds, and nearly always a few hundred tokens hold all of top_p:
    so ever longer heads are tried.
    """
    kept = min(sampling.top_k or weights.numel(), weights.numel())
    if sampling.top_p >= 1:
        head = weights.topk(kept)
        return head.values, head.indices
    total = weights.topk(kept).values.sum() if sampling.top_k else weights.sum()
    for size in (*_NUCLEUS_SIZES, kept):
        head = weights.topk(min(size, kept))
        sums = head.values.cumsum(0)
        if size >= kept or sums[-1] >= sampling.top_p * total:
            break
    count = int((sums - head.values < sampling.top_p * total).sum())
    return head.values[: max(count, 1)], head.indices[: max(count, 1)]


def _logprob(logits: Tensor, token: int, top: int | None) -> TokenLogprob | None:
    if top is None:
        return None
    logprobs = logits.log_softmax(-1)
    head = logprobs.topk(min(top, logits.numel()))
    pairs = list(zip(head.indices.tolist(), head.values.tolist(), strict=True))
    return TokenLogprob(token, float(logprobs[token]), pairs)
