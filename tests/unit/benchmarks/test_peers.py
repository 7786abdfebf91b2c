"""How peers are kept."""

from pathlib import Path

import pytest

from benchmarks.peers import llama_cpp, places
from benchmarks.peers.environments import BuildError
from benchmarks.peers.open_inference import _TYPES


@pytest.fixture(autouse=True)
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_peer_that_was_never_built_says_how_to_build_it():
    assert "make bench-peers" in places.why_not("nobody")


def test_a_peer_that_could_not_be_built_says_why():
    places.record("somebody", failure="no wheel for this Python")
    assert places.why_not("somebody") == "no wheel for this Python"


def test_a_built_peer_is_built_again_only_by_another_recipe():
    places.record("somebody", recipe="one")
    assert places.why_not("somebody") == ""
    assert places.built("somebody", "one")
    assert not places.built("somebody", "two")


def test_the_barrier_stands_before_the_tiles_are_configured(tmp_path: Path):
    source = tmp_path / "mmq.cpp"
    source.write_text("void f() {\n    _tile_loadconfig(&tc);\n}\n")
    llama_cpp.mend(source)
    assert source.read_text().index(llama_cpp.BARRIER) < source.read_text().index(llama_cpp.LOAD)


def test_sources_without_that_place_are_refused(tmp_path: Path):
    source = tmp_path / "mmq.cpp"
    source.write_text("")
    with pytest.raises(BuildError, match="barrier"):
        llama_cpp.mend(source)


def test_the_open_inference_messages_have_the_protocols_numbers():
    tensor = _TYPES["Tensor"](name="text", datatype="BYTES", shape=[1, 1])
    request = _TYPES["ModelInferRequest"](model_name="embed", inputs=[tensor], raw_input_contents=[b"x"])
    assert request.SerializeToString() == b"\n\x05embed*\x11\n\x04text\x12\x05BYTES\x1a\x02\x01\x01:\x01x"
