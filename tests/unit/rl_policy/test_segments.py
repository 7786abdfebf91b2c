"""Transitions come back from their bytes as they were, bit for bit, and one-hot ones are small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.rl_policy.algorithms.algorithm import Transitions
from services.rl_policy.store import segments
from tests.unit.rl_policy.walks import same


def _columns(rows: int, width: int, choices: int, kind: type) -> st.SearchStrategy[Transitions]:
    def column(dtype: type, *shape: int) -> st.SearchStrategy[np.ndarray]:
        return arrays.arrays(dtype, (rows, *shape))

    return st.builds(
        Transitions,
        episode=column(np.int64),
        step=column(np.int64),
        observation=column(np.float32, width),
        action=column(kind, 1),
        propensity=column(np.float64),
        reward=column(np.float64),
        next_observation=column(np.float32, width),
        terminated=column(np.bool_),
        truncated=column(np.bool_),
        mask=column(np.bool_, choices),
        next_mask=column(np.bool_, choices),
        decision_id=column(np.int64),
        policy_version=column(np.int64),
    )


transitions = st.tuples(
    st.integers(1, 6), st.integers(0, 20), st.integers(0, 9), st.sampled_from([np.int64, np.float32])
).flatmap(lambda each: _columns(*each))


@given(transitions, st.data())
def test_what_is_encoded_comes_back_bit_for_bit(kept: Transitions, data: st.DataObject):
    settled = data.draw(arrays.arrays(np.bool_, len(kept)))

    read, whole = segments.decode(segments.encode(kept, settled))

    assert same(read, kept)
    assert (whole == settled).all()
    assert all(column.flags.writeable for _, column in read.columns())


def test_minus_zero_and_nan_survive_among_zeros():
    seen = np.zeros((3, 40), np.float32)
    seen[0, 3], seen[2, 39] = -0.0, np.nan
    kept = replace(_one_hot(3, 40), observation=seen)

    read, _ = segments.decode(segments.encode(kept, np.ones(3, np.bool_)))

    assert read.observation.tobytes() == seen.tobytes()


def test_a_one_hot_state_of_500_takes_a_hundredth_of_its_floats():
    kept = _one_hot(256, 500)

    assert len(segments.encode(kept, np.ones(256, np.bool_))) < kept.observation.nbytes * 2 / 50


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match="not a segment"):
        segments.decode(b"SQLite format 3\0")


def _one_hot(rows: int, width: int) -> Transitions:
    states = np.random.default_rng(5).integers(0, width, rows + 1)
    seen = np.eye(width, dtype=np.float32)[states]
    return Transitions(
        episode=np.zeros(rows, np.int64),
        step=np.arange(rows),
        observation=seen[:-1],
        action=np.zeros((rows, 1), np.int64),
        propensity=np.ones(rows),
        reward=np.zeros(rows),
        next_observation=seen[1:],
        terminated=np.zeros(rows, np.bool_),
        truncated=np.zeros(rows, np.bool_),
        mask=np.ones((rows, 6), np.bool_),
        next_mask=np.ones((rows, 6), np.bool_),
        decision_id=np.arange(rows),
        policy_version=np.ones(rows, np.int64),
    )
