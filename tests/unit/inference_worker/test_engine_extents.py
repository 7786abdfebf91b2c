"""Places in the cache never overlap, and come back whole."""

from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.engine.extents import Extents


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60))
def test_places_never_overlap_and_what_is_free_adds_up(moves: list[tuple[int, bool]]):
    extents, held = Extents(100), []
    for length, gives_back in moves:
        if gives_back and held:
            extents.release(*held.pop(length % len(held)))
        elif (offset := extents.allocate(length)) is not None:
            held.append((offset, length))
        taken = [place for offset, length in held for place in range(offset, offset + length)]
        assert len(taken) == len(set(taken)) == extents.total - extents.free
        assert all(0 <= place < 100 for place in taken)


@given(st.permutations(range(10)))
def test_the_whole_is_there_again_whatever_the_order_of_returns(order: list[int]):
    extents = Extents(100)
    offsets = [extents.allocate(10) for _ in range(10)]
    assert extents.allocate(1) is None
    for index in order:
        offset = offsets[index]
        assert offset is not None
        extents.release(offset, 10)
    assert extents.allocate(100) == 0


def test_a_place_must_be_in_one_piece():
    extents = Extents(30)
    first, second, _third = (extents.allocate(10) for _ in range(3))
    assert first is not None
    assert second is not None
    extents.release(first, 10)
    assert extents.allocate(11) is None
    extents.release(second, 10)
    assert extents.allocate(20) == 0
