"""Spaces: what belongs to them, and the rows that their values become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import InvalidArgument
from services.rl_policy import spaces
from services.rl_policy.spaces import Box, Dict, Discrete, MultiDiscrete, Space

NESTED = Dict((("at", Discrete(3, start=-1)), ("seen", Box((2,), (-1.0,), (1.0, 2.0)))))


@pytest.mark.parametrize(
    ("space", "value", "compact", "flat"),
    [
        (Discrete(3), 2, [2], [0, 0, 1]),
        (Discrete(3, start=5), np.asarray(6), [1], [0, 1, 0]),
        (MultiDiscrete((2, 3)), np.asarray([1, 0]), [1, 0], [0, 1, 1, 0, 0]),
        (Box((2, 2)), np.asarray([[1, 2], [3, 4]]), [1, 2, 3, 4], [1, 2, 3, 4]),
        (NESTED, {"at": 0, "seen": np.asarray([0.5, 2.0])}, [1, 0.5, 2], [0, 1, 0, 0.5, 2]),
    ],
)
def test_a_value_becomes_a_compact_and_a_flat_row(space: Space, value: Any, compact: Any, flat: Any):
    assert spaces.compact(space, value).tolist() == compact
    assert spaces.flatten(space, value).tolist() == flat
    assert (spaces.compact_size(space), spaces.flat_size(space)) == (len(compact), len(flat))


@pytest.mark.parametrize(
    ("space", "value", "field"),
    [
        (Discrete(3), 3, "observation"),
        (Discrete(3), -1, "observation"),
        (Discrete(3), 0.5, "observation"),
        (Discrete(3), float("nan"), "observation"),
        (Discrete(3), np.asarray([1]), "observation"),
        (MultiDiscrete((2, 2)), np.asarray([0, 2]), "observation"),
        (Box((2,), (0.0,), (1.0,)), np.asarray([0, 1.5]), "observation"),
        (Box((2,)), np.asarray([0, np.nan]), "observation"),
        (Box((2,)), np.asarray([0, np.inf]), "observation"),
        (NESTED, {"at": 0}, "observation.seen"),
        (NESTED, {"at": 0, "seen": np.zeros(3)}, "observation.seen"),
        (NESTED, {"at": 0, "seen": np.zeros(2), "more": 1}, "observation.more"),
        (NESTED, 1, "observation"),
        (Box((1,)), {"a": 1}, "observation"),
    ],
)
def test_what_is_not_in_a_space_is_named(space: Space, value: Any, field: str):
    with pytest.raises(InvalidArgument) as refused:
        spaces.check(space, value)
    assert refused.value.violations[0].field == field


@pytest.mark.parametrize(
    "make",
    [
        lambda: Discrete(0),
        lambda: Discrete(1 << 21),
        lambda: MultiDiscrete(()),
        lambda: Box((0,)),
        lambda: Box((2,), (0.0, 0.0, 0.0)),
        lambda: Box((1,), (2.0,), (1.0,)),
        lambda: Box((1,), (float("nan"),), (1.0,)),
        lambda: Box((1,), dtype="complex64"),
        lambda: Dict((("b", Discrete(1)), ("a", Discrete(1)))),
    ],
)
def test_a_space_that_cannot_be_is_refused(make: Any):
    with pytest.raises(InvalidArgument):
        make()


def test_a_bound_of_float64_does_not_refuse_its_own_value():
    space = Box((1,), (-0.1,), (0.1,))
    spaces.check(space, np.asarray([0.1]))
    spaces.check(space, np.asarray([0.1], np.float32))


def parts() -> st.SearchStrategy[Space]:
    return st.one_of(
        st.builds(Discrete, st.integers(1, 9), st.integers(-5, 5)),
        st.builds(MultiDiscrete, st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)),
        st.builds(
            lambda shape: Box(shape, (-2.0,), (2.0,)), st.lists(st.integers(1, 3), max_size=3).map(tuple)
        ),
    )


@given(
    st.one_of(
        parts(),
        st.dictionaries(st.sampled_from("abcd"), parts(), min_size=1).map(
            lambda named: Dict(tuple(sorted(named.items())))
        ),
    ),
    st.randoms(use_true_random=False),
)
def test_a_compact_row_is_checked_and_becomes_its_value_again(space: Space, random: Any):
    value = drawn(space, random)
    row = spaces.compact(space, value)
    spaces.check_rows(space, row[None])
    again = spaces.compact(space, spaces.unpack(space, row))
    assert np.array_equal(row, again)
    assert spaces.expand(space, row[None]).shape == (1, spaces.flat_size(space))


def drawn(space: Space, random: Any) -> Any:
    if isinstance(space, Dict):
        return {name: drawn(each, random) for name, each in space.spaces}
    if isinstance(space, Discrete):
        return space.start + random.randrange(space.n)
    if isinstance(space, MultiDiscrete):
        return np.asarray([random.randrange(count) for count in space.nvec])
    return np.asarray([random.uniform(-2, 2) for _ in range(space.size)], np.float32).reshape(space.shape)
