"""BPR: vectors by which what a user has ranks above what the user has not.

    maximise Σ ln sigmoid(p_u·q_i + b_i - p_u·q_j - b_j) - lambda (|p_u|² + |q_i|² + |q_j|² + b_i² + b_j²)

over users u, items i that they have and items j, drawn by chance, that they have not, by stochastic gradient
ascent in small batches: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian personalized ranking
from implicit feedback" (UAI 2009). The users' vectors end with the training; who comes is folded in as in
`factors`, the items' biases being one more dimension: how much a user cares for what all like is found too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from services.recommender.entities import Floats
from services.recommender.models.algorithm import TrainingData
from services.recommender.models.checks import check
from services.recommender.models.factors import Factors, Fold
from services.recommender.models.least_squares import positive
from services.recommender.models.model import Config
from services.recommender.models.sittings import users_of

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Bpr:
    """The vectors' length, the search for them, and how users are folded in (alpha, ridge)."""

    name: ClassVar[str] = "bpr"

    factors: int = 64
    learning_rate: float = 0.05
    regularisation: float = 0.01
    epochs: int = 40
    batch: int = 256
    alpha: float = 0.3
    ridge: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("factors", "epochs", "batch"):
            check(field, getattr(self, field), least=1)
        for field in ("learning_rate", "alpha", "ridge"):
            check(field, getattr(self, field), above=0)
        check("regularisation", self.regularisation, least=0)

    def config(self) -> Config:
        """Return the hyper-parameters."""
        return asdict(self)

    def fit(self, data: TrainingData) -> Factors:
        """Return the model: the items' vectors and biases, and how users are folded in."""
        matrix = positive(data.interactions.matrix)
        users, items = users_of(matrix), matrix.indices.astype(np.int64)
        taken = np.sort(users * matrix.shape[1] + items)
        search = _Search(self, matrix.shape, np.random.default_rng(self.seed))
        for _ in range(self.epochs):
            order = search.random.permutation(len(users))
            for begin in range(0, len(order), self.batch):
                chosen = order[begin : begin + self.batch]
                search.step(users[chosen], items[chosen], taken)
        vectors = np.column_stack([search.items, search.biases]).astype(np.float32)
        return Factors(self.name, vectors, Fold(self.alpha, self.ridge), self.config())


class _Search:
    """The vectors while they are sought."""

    def __init__(self, settings: Bpr, shape: tuple[int, int], random: np.random.Generator) -> None:
        self.random = random
        self.biases: Floats = np.zeros(shape[1], np.float32)
        self.users = self._start(shape[0], settings.factors)
        self.items = self._start(shape[1], settings.factors)
        self._rate = np.float32(settings.learning_rate)
        self._decay = np.float32(settings.regularisation)

    def step(self, users: Indices, items: Indices, taken: Indices) -> None:
        """Move the vectors of some users and items, each against an item that the user has not."""
        others = self.random.integers(len(self.items), size=len(users))
        keys = users * len(self.items) + others
        free = taken[np.minimum(np.searchsorted(taken, keys), len(taken) - 1)] != keys
        users, items, others = users[free], items[free], others[free]
        user, better, worse = self.users[users], self.items[items], self.items[others]
        apart = better - worse
        margins = (user * apart).sum(axis=1) + self.biases[items] - self.biases[others]
        pull = expit(-margins)[:, None]
        self._move(self.users, users, pull * apart, user)
        self._move(self.items, items, pull * user, better)
        self._move(self.items, others, -pull * user, worse)
        self._move(self.biases, items, pull[:, 0], self.biases[items])
        self._move(self.biases, others, -pull[:, 0], self.biases[others])

    def _move(self, values: Floats, at: Indices, gradient: Floats, held: Floats) -> None:
        np.add.at(values, at, self._rate * (gradient - self._decay * held))

    def _start(self, rows: int, factors: int) -> Floats:
        return (self.random.standard_normal((rows, factors)) * 0.1).astype(np.float32)
