"""One binary serves all processors; without a compiler there is none, and that is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.inference_worker.engine.native import building


def test_vector_kernels_are_compiled_for_every_level_and_tiles_for_theirs():
    levels = {}
    for each in building.compilations(machine="x86_64"):
        levels.setdefault(each.source.name, []).append(each.level)
    assert levels["attention_simd.cpp"] == ["portable", "avx2", "avx512"]
    assert levels["attention_amx.cpp"] == ["amx"]
    assert levels["model.cpp"] == ["portable"]


def test_other_processors_get_what_every_compiler_makes():
    compiled = building.compilations(machine="aarch64")
    assert {each.level for each in compiled} == {"portable"}
    assert "attention_amx.cpp" not in {each.source.name for each in compiled}


def test_a_changed_source_changes_the_name_of_the_library(tmp_path: Path):
    shutil.copytree(building.SOURCES, tmp_path / "csrc")
    before = building.sources_hash(tmp_path / "csrc")
    (tmp_path / "csrc" / "team.cpp").write_text("// changed\n")
    assert before == building.sources_hash()
    assert building.sources_hash(tmp_path / "csrc") != before


def test_without_a_compiler_there_is_a_sentence_and_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert building.build(tmp_path / "made") is None
    assert "without its native runner" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_compiler_that_fails_leaves_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("CXX", "false")
    assert building.build(tmp_path / "made") is None
    assert "was not built" in capsys.readouterr().err
    assert not list((tmp_path / "made").iterdir())
