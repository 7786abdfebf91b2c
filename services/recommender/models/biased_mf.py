"""Biased matrix factorisation: which value a user would give, for ratings.

    r_ui = m + b_u + b_i + p_u·q_i
    minimise Σ (r_ui - ...)² + lambda (|p_u|² + |q_i|²) + mu (b_u² + b_i²)

by stochastic gradient descent in small batches: Koren, Bell, Volinsky, "Matrix factorization techniques for
recommender systems" (IEEE Computer 42(8), 2009). Several searches from different starts are averaged, which
takes out what the start alone decided. The users' own numbers end with the training: b_u and p_u are found
again from a history by the same equation, a ridge regression, so that a rating given now counts now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from services.kit.errors import FailedPrecondition, Reason
from services.recommender.entities import Floats, Interactions
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.model import Config
from services.recommender.models.ratings import Ratings
from services.recommender.models.sittings import users_of

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class BiasedMf:
    """The vectors' length and the search for them."""

    name: ClassVar[str] = "biased_mf"

    factors: int = 32
    members: int = 4
    """Searches that are averaged."""
    learning_rate: float = 0.02
    rate_decay: float = 0.95
    """What the learning rate is multiplied with after each epoch."""
    regularisation: float = 0.08
    bias_regularisation: float = 0.02
    epochs: int = 30
    batch: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("factors", "members", "epochs", "batch"):
            check(field, getattr(self, field), least=1)
        for field in ("learning_rate", "rate_decay", "regularisation", "bias_regularisation"):
            check(field, getattr(self, field), above=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> Ratings:
        """Return the model; raises FailedPrecondition (TRAINING_FAILED) where there are no values."""
        ratings = data.ratings
        if ratings is None or not ratings.matrix.nnz:
            raise FailedPrecondition(
                Reason.TRAINING_FAILED, "biased_mf learns from values, and no event has one.", metadata={}
            )
        searches = [self._search(ratings, self.seed + member) for member in range(self.members)]
        values = ratings.matrix.data
        return Ratings(
            name=self.name,
            factors=np.stack([search.items for search in searches]),
            biases=np.stack([search.item_biases for search in searches]),
            mean=float(values.mean()),
            lowest=float(values.min()),
            highest=float(values.max()),
            config=self.config(),
        )

    def _search(self, ratings: Interactions, seed: int) -> _Search:
        matrix = ratings.matrix
        users, items = users_of(matrix), matrix.indices.astype(np.int64)
        residuals = matrix.data - matrix.data.mean()
        search = _Search(self, matrix.shape, np.random.default_rng(seed))
        for epoch in range(self.epochs):
            rate = self.learning_rate * self.rate_decay**epoch
            order = search.random.permutation(len(users))
            for begin in range(0, len(order), self.batch):
                chosen = order[begin : begin + self.batch]
                search.step(users[chosen], items[chosen], residuals[chosen], np.float32(rate))
        return search


class _Search:
    """Biases and vectors while they are sought."""

    def __init__(self, settings: BiasedMf, shape: tuple[int, int], random: np.random.Generator) -> None:
        self.random = random
        self.user_biases, self.item_biases = (np.zeros(size, np.float32) for size in shape)
        self.users, self.items = (self._start(size, settings.factors) for size in shape)
        self._decay = np.float32(settings.regularisation)
        self._bias_decay = np.float32(settings.bias_regularisation)

    def step(self, users: Indices, items: Indices, residuals: Floats, rate: np.float32) -> None:
        """Move what belongs to some ratings against their error."""
        user, item = self.users[users], self.items[items]
        user_bias, item_bias = self.user_biases[users], self.item_biases[items]
        errors = residuals - user_bias - item_bias - (user * item).sum(axis=1)
        np.add.at(self.user_biases, users, rate * (errors - self._bias_decay * user_bias))
        np.add.at(self.item_biases, items, rate * (errors - self._bias_decay * item_bias))
        np.add.at(self.users, users, rate * (errors[:, None] * item - self._decay * user))
        np.add.at(self.items, items, rate * (errors[:, None] * user - self._decay * item))

    def _start(self, rows: int, factors: int) -> Floats:
        return (self.random.standard_normal((rows, factors)) * 0.1).astype(np.float32)
