"""One small system of equations a row: the least squares under iALS and every fold-in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.linalg.lapack import sposv
from scipy.sparse import csr_matrix

from services.recommender.entities import Floats


def solve_rows(
    rows: csr_matrix, vectors: Floats, gram: Floats, ridge: Floats, targets: Floats | None = None
) -> Floats:
    """Return W (B, d) float32, for row b with weights c over columns i of vectors v and targets y.

        w_b = (gram + Σ c_i v_i v_iᵀ + ridge_b I)⁻¹ Σ c_i y_i v_i

    Weights must be above 0, `gram` (d, d) positive semidefinite and `ridge` (B,) above 0. Empty rows give 0.
    `targets` (nnz,) stand beside the weights; None: all are 1.
    """
    solved = np.zeros((rows.shape[0], vectors.shape[1]), np.float32)
    every = vectors.shape[1] + 1
    for row, (begin, end) in enumerate(pairwise(rows.indptr)):
        if begin == end:
            continue
        weights = rows.data[begin:end]
        chosen = vectors[rows.indices[begin:end]]
        scaled = chosen * np.sqrt(weights)[:, None]
        system = gram + scaled.T @ scaled
        system.flat[::every] += ridge[row]
        # The system is symmetric: its transpose is the order that LAPACK wants, and spares a copy.
        wanted = weights if targets is None else weights * targets[begin:end]
        _, solution, failed = sposv(system.T, wanted @ chosen, overwrite_a=True, overwrite_b=True)
        if not failed:
            solved[row] = solution
    return solved


def positive(histories: csr_matrix) -> csr_matrix:
    """Return the entries above 0 as float32: dislike has no place in a least square's weights."""
    if histories.nnz == 0 or histories.data.min() > 0:
        return histories
    kept = histories.copy()
    kept.data = np.maximum(kept.data, 0)
    kept.eliminate_zeros()
    return kept
