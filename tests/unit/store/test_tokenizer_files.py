from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.store.sources import SourceError
from services.store.tokenizer_files import SpecialTokens, TokenizerFormat, read_tokenizer
from tests.real_models import EMBEDDER, tokenizer_files


def folder(path: Path, **files: Any) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", ".")
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_default_embedders_tokenizer_is_read() -> None:
    files = tokenizer_files(EMBEDDER)
    assert files.format is TokenizerFormat.HF_TOKENIZER_JSON
    assert files.special_tokens == SpecialTokens(unk="[UNK]", pad="[PAD]")
    assert (files.chat_template, files.end_token_ids) == (None, ())


def test_a_tokenizer_json_goes_before_a_sentence_piece_model(tmp_path: Path) -> None:
    both = folder(tmp_path, tokenizer__json={}, tokenizer__model="pieces")
    assert read_tokenizer(both).path.name == "tokenizer.json"


@pytest.mark.parametrize("name", ["tokenizer__model", "spiece__model"])
def test_a_sentence_piece_model_is_taken_where_there_is_no_other(tmp_path: Path, name: str) -> None:
    files = read_tokenizer(
        folder(tmp_path, **{name: "pieces"}, tokenizer_config__json={"add_eos_token": True})
    )
    assert files.format is TokenizerFormat.SENTENCEPIECE
    assert (files.add_bos, files.add_eos) == (None, True)


@pytest.mark.parametrize(
    ("files", "template"),
    [
        ({"chat_template__jinja": "file", "tokenizer_config__json": {"chat_template": "config"}}, "file"),
        ({"tokenizer_config__json": {"chat_template": "config"}}, "config"),
        (
            {"tokenizer_config__json": {"chat_template": [{"name": "default", "template": "listed"}]}},
            "listed",
        ),
        ({"tokenizer_config__json": {"chat_template": [{"name": "rag", "template": "other"}]}}, None),
        ({}, None),
    ],
)
def test_the_template_is_found_where_models_keep_it(tmp_path: Path, files: Any, template: str | None) -> None:
    assert read_tokenizer(folder(tmp_path, tokenizer__json={}, **files)).chat_template == template


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({"generation_config__json": {"eos_token_id": [7, 8]}, "config__json": {"eos_token_id": 9}}, (7, 8)),
        ({"generation_config__json": {}, "config__json": {"eos_token_id": 9}}, (9,)),
        ({"tokenizer_config__json": {"eos_token": {"content": "</s>"}}}, (2,)),
        ({"special_tokens_map__json": {"eos_token": "</s>"}}, (2,)),
        ({"config__json": {"eos_token_id": "nine"}}, ()),
    ],
)
def test_the_end_tokens_are_found_where_models_keep_them(
    tmp_path: Path, files: Any, ids: tuple[int, ...]
) -> None:
    added = {"added_tokens": [{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}]}
    assert read_tokenizer(folder(tmp_path, tokenizer__json=added, **files)).end_token_ids == ids


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds neither a tokenizer.json nor a SentencePiece model"),
        ({"tokenizer__json": {}, "tokenizer_config__json": "{"}, "tokenizer_config.json is not JSON"),
        ({"tokenizer__json": {}, "config__json": []}, "config.json holds no JSON object"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, files: Any, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        read_tokenizer(folder(tmp_path, **files))
