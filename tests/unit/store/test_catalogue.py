from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.kit.errors import NotFound, Reason
from services.kit.settings import SettingsError
from services.store.catalogue import Catalogue, Format, Pooling, Task
from services.store.catalogue_file import CatalogueFile

GOOD = '[[model]]\nname = "mine"\ntask = "embed"\nsource = "file:///models/mine"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "catalogue.toml"
    path.write_text(text)
    return path


def test_the_built_in_catalogue_has_the_two_defaults_pinned_by_digest() -> None:
    catalogue = Catalogue.read()
    chat, embedder = catalogue.get("smollm2-135m-instruct"), catalogue.get("all-minilm-l6-v2")

    assert (chat.task, chat.weights, chat.dtype) == (Task.GENERATE, Format.GGUF, "bfloat16")
    assert (embedder.task, embedder.pooling, embedder.normalize) == (Task.EMBED, Pooling.MEAN, True)
    assert embedder.dtype == "auto"
    assert all(len(spec.sha256) == 64 and spec.licence for spec in catalogue)
    assert catalogue.names() == ("all-minilm-l6-v2", "smollm2-135m-instruct")


def test_entries_of_a_file_are_added_and_replace_those_of_the_same_name_and_version(tmp_path: Path) -> None:
    other = '[[model]]\nname = "all-minilm-l6-v2"\ntask = "embed"\nsource = "file:///models/other"\n'
    catalogue = Catalogue.read(written(tmp_path, GOOD + other))

    assert catalogue.get("mine").source == "file:///models/mine"
    assert catalogue.get("all-minilm-l6-v2").source == "file:///models/other"
    assert len(catalogue) == 3


def test_the_newest_version_is_the_highest_by_number(tmp_path: Path) -> None:
    versions = "".join(GOOD + f'version = "{version}"\n' for version in ("10", "9", "2-rc"))
    catalogue = Catalogue.read(written(tmp_path, versions))

    assert catalogue.get("mine").version == "10"
    assert catalogue.get("mine", "9").version == "9"
    assert [spec.version for spec in catalogue if spec.name == "mine"] == ["2-rc", "9", "10"]


def test_what_is_not_there_is_not_found_by_name_or_by_version() -> None:
    with pytest.raises(NotFound, match="all-minilm-l6-v2") as unknown:
        Catalogue.read().get("gtp-2")
    with pytest.raises(NotFound, match="only 1") as version:
        Catalogue.read().get("all-minilm-l6-v2", "7")

    assert (unknown.value.reason, unknown.value.metadata) == (Reason.MODEL_NOT_FOUND, {"model": "gtp-2"})
    assert version.value.reason == Reason.VERSION_NOT_FOUND


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[model]", "catalogue.toml cannot be used: Expected"),
        ('[model]\nname = "mine"', "two brackets"),
        ("colour = 3", "unknown key 'colour'"),
        (GOOD + 'sorce = "x"', "model 'mine': unknown key 'sorce'; known are name, version"),
        (GOOD + GOOD, "model 'mine' version '1' stands there twice"),
        ('[[model]]\ntask = "embed"', "a model without name: the key 'name' is missing"),
        ('[[model]]\nname = "mine"\ntask = "embed"', "the key 'source' is missing"),
        (GOOD.replace("mine", "My Model", 1), r"name must match"),
        (GOOD.replace('"embed"', '"paint"'), "task must be one of generate, embed, not 'paint'"),
        (GOOD.replace("file:///models/mine", "models/mine"), "source must be a URL"),
        (GOOD.replace("file:///models/mine", "pypi://name/path"), "must look like pypi://NAME==VERSION/PATH"),
        (GOOD.replace("file:///models/mine", "hf://name"), "must look like hf://OWNER/NAME@REVISION"),
        (GOOD.replace("file:///models/mine", "file://models"), "must look like file:///ABSOLUTE/PATH"),
        (GOOD + 'sha256 = "abc"', "sha256 must be 64 lower-case hex digits"),
        (
            GOOD + 'dtype = "int3"',
            "dtype must be one of auto, bfloat16, float16, float32, int8, q4, not 'int3'",
        ),
        (GOOD + 'weights = "pickle"', "weights must be one of safetensors, gguf"),
        (GOOD + "normalize = 1", "normalize must be true or false, not 1"),
        (GOOD + "licence = 1", "licence must be a string, not 1"),
        (GOOD + "download_bytes = -1", "download_bytes must be a whole number, 0 or more"),
        (GOOD + "sampling = 1", r"sampling must be a table, \[model.sampling\]"),
        (GOOD + "[model.sampling]\ntop_p = 0", "sampling its table: top_p must be above 0 to 1, not 0"),
        (GOOD + "[model.sampling]\ntemperature = true", "temperature must be from 0 to 100, not True"),
        (GOOD + "[model.sampling]\nheat = 1", "unknown key 'heat'; known are temperature"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refused:
        Catalogue.read(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_catalogue_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TRUNKLINE_CATALOGUE names .*none.toml, which cannot be read"):
        Catalogue.read(tmp_path / "none.toml")


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_last(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    file = CatalogueFile(path)
    before = file.current()

    path.write_text(GOOD)
    os.utime(path, ns=(1, 1))
    after = file.current()
    path.write_text("[[model]")
    os.utime(path, ns=(2, 2))
    broken = file.current()
    path.unlink()

    assert "mine" not in before.names()
    assert "mine" in after.names()
    assert broken is after is file.current()
    assert CatalogueFile(None).current().names() == before.names()
