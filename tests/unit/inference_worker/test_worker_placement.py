"""Where a model goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_worker.footprint import Footprint
from services.inference_worker.placement import Placement, Room
from services.inference_worker.placement import place as place_by_device
from services.kit.errors import NotFound, ResourceExhausted

GENERATOR = Footprint(weight_bytes=1_000, cache_token_bytes=1, context_length=8_192, workspace_bytes=100)
ENCODER = Footprint(weight_bytes=1_000, cache_token_bytes=0, context_length=512, workspace_bytes=100)
ROOMS = [Room("cuda:0", 20_000), Room("cuda:1", 40_000), Room("cpu", 90_000)]


def place(footprint: Footprint, cache_tokens: int, rooms: list[Room], pinned: str = "") -> Placement:
    """Place a model that takes the same everywhere."""
    return place_by_device({room.device: footprint for room in rooms}, cache_tokens, rooms, pinned)


def test_gpus_go_before_the_processor_and_the_emptier_before_the_fuller():
    assert place(GENERATOR, 8_192, ROOMS).device == "cuda:1"


def test_a_place_with_all_of_the_cache_goes_before_one_with_a_part():
    assert place(GENERATOR, 50_000, ROOMS).device == "cpu"


def test_a_pin_is_kept_however_full_the_others_are():
    assert place(GENERATOR, 8_192, ROOMS, "cuda:0").device == "cuda:0"
    assert place(GENERATOR, 8_192, ROOMS, "cpu").device == "cpu"


def test_an_unknown_device_is_not_found():
    with pytest.raises(NotFound) as failed:
        place(GENERATOR, 8_192, ROOMS, "cuda:3")
    assert failed.value.metadata == {"device": "cuda:3", "devices": "cuda:0,cuda:1,cpu"}


def test_where_memory_is_short_the_cache_is_smaller():
    placement = place(GENERATOR, 8_192, [Room("cpu", 1_100 + 3_000)])
    assert (placement.cache_tokens, placement.needed_bytes) == (2_992, 4_092), "whole blocks of 16 tokens"


def test_what_a_model_takes_may_differ_from_device_to_device():
    large = Footprint(weight_bytes=50_000, cache_token_bytes=1, context_length=8_192, workspace_bytes=100)
    footprints = {"cuda:0": large, "cuda:1": large, "cpu": GENERATOR}
    assert place_by_device(footprints, 8_192, ROOMS).device == "cpu"


def test_what_does_not_fit_is_refused_with_the_arithmetic():
    with pytest.raises(ResourceExhausted) as failed:
        place(GENERATOR, 8_192, [Room("cpu", 3_000)])
    assert failed.value.reason == "DEVICE_MEMORY_EXHAUSTED"
    assert failed.value.metadata == {
        "device": "cpu",
        "needed_bytes": "3148",
        "free_bytes": "3000",
        "weight_bytes": "1000",
        "cache_bytes": "2048",
        "workspace_bytes": "100",
    }


def test_an_encoder_needs_no_cache():
    assert place(ENCODER, 8_192, [Room("cpu", 1_100)]).cache_tokens == 0


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    st.integers(0, 5_000),
    st.integers(0, 3),
    st.integers(1, 9_000),
)
def test_no_device_is_promised_more_than_it_has(frees: list[int], weights: int, token: int, cache: int):
    rooms = [Room(f"cuda:{index}", free) for index, free in enumerate(frees)]
    footprint = Footprint(weights, token, context_length=1_000, workspace_bytes=10)
    try:
        placement = place(footprint, cache, rooms)
    except ResourceExhausted:
        least = min(cache // 16 * 16, 1_008) if token else 0
        assert all(footprint.needed(least) > room.free_bytes for room in rooms)
    else:
        room = next(room for room in rooms if room.device == placement.device)
        assert placement.needed_bytes <= room.free_bytes
        assert placement.cache_tokens <= cache
        assert placement.cache_tokens % 16 == 0
