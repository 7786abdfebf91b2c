from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from services.kit.errors import FailedPrecondition
from services.store.catalogue import Format, ModelSpec, Task
from services.store.gguf_tokenizer import convert_tokenizer
from services.store.sources import SourceError
from services.store.store import Store
from services.store.tokenizer_files import TokenizerFormat, read_tokenizer
from tests.real_models import CHAT, TEXTS, reference, tokenizer_files
from tests.unit.store.gguf_files import Recipe, byte_level, sentence_piece

SAMPLES = (
    *TEXTS,
    "hello world",
    "  hello",
    "the hello.",
    "x</s>y <think> z<|user|>hello",
    "hello 12 1234 HELLO'S",
)
RECIPES = {
    "llama": sentence_piece("llama"),
    "llama without BOS but with EOS": sentence_piece("llama", add_bos_token=False, add_eos_token=True),
    "phi 3": sentence_piece("phi3"),
    "gemma 2": sentence_piece("gemma2", bos="<bos>", eos="<eos>", add_bos_token=True),
    **{
        split: byte_level(split)
        for split in ("llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "smollm", "gpt-2")
    },
}


def converted(recipe: Recipe, folder: Path) -> Path:
    recipe.write(folder)
    into = folder / "into"
    into.mkdir()
    convert_tokenizer(folder, into)
    return into


def by_transformers(folder: Path) -> Any:
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    return TokenizersBackend.from_pretrained(folder, gguf_file="model.gguf")


def garbage(seed: int) -> str:
    """Return text that nobody would write."""
    generator = random.Random(seed)
    planes = ((0x20, 0x7F), (0, 0x300), (0x3000, 0xD7FF), (0xE000, 0x1FFFF))
    letters = (chr(generator.randrange(*generator.choice(planes))) for _ in range(generator.randrange(80)))
    return "".join(letters)


def test_the_default_models_ids_are_those_of_transformers() -> None:
    ours, theirs = Tokenizer.from_file(str(tokenizer_files(CHAT).path)), reference(CHAT)
    code = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    for text in (*SAMPLES, *code, *(garbage(seed) for seed in range(300))):
        ids = theirs(text).input_ids
        assert ours.encode(text).ids == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert json.loads(ours.to_str()) == json.loads(theirs.backend_tokenizer.to_str())


def test_the_default_models_files_say_what_the_gguf_says() -> None:
    files, theirs = tokenizer_files(CHAT), reference(CHAT)

    assert files.format is TokenizerFormat.HF_TOKENIZER_JSON
    assert files.end_token_ids == (theirs.eos_token_id,)
    assert files.chat_template == theirs.chat_template
    tokens = files.special_tokens
    assert (tokens.bos, tokens.eos, tokens.unk, tokens.pad) == (
        theirs.bos_token,
        theirs.eos_token,
        theirs.unk_token,
        theirs.pad_token,
    )


def test_the_default_models_digest_is_the_same_everywhere() -> None:
    assert tokenizer_files(CHAT).digest == "7e0b8f35ca7f836d92d824d9e3db5747c22d9a1e2753ccf2ec9af24a8614e979"


@pytest.mark.parametrize("name", RECIPES)
def test_each_family_encodes_as_transformers_does(name: str, tmp_path: Path) -> None:
    into = converted(RECIPES[name], tmp_path)
    ours, theirs = Tokenizer.from_file(str(into / "tokenizer.json")), by_transformers(tmp_path)
    for text in SAMPLES:
        assert ours.encode(text).ids == theirs(text).input_ids
    pair = theirs("hello", "the world")
    assert ours.encode("hello", "the world").ids == pair.input_ids
    assert max(ours.get_vocab().values()) == len(RECIPES[name].tokens) - 1


@pytest.mark.parametrize("name", ["llama", "llama-bpe"])
def test_the_same_file_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first, second = converted(RECIPES[name], tmp_path / "a"), converted(RECIPES[name], tmp_path / "b")
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()


def test_all_tokens_that_end_an_answer_are_found(tmp_path: Path) -> None:
    recipe = sentence_piece("llama", eot_token_id=3, chat_template="{{ messages }}")
    files = read_tokenizer(converted(recipe, tmp_path))
    assert files.end_token_ids == (2, 3)
    assert files.chat_template == "{{ messages }}"


def test_a_role_outside_the_byte_alphabet_keeps_its_text(tmp_path: Path) -> None:
    plain = byte_level("llama-bpe")
    tokens = [*plain.tokens[:-2], "<\uff5cbegin\uff5c>", "<think>"]
    recipe = Recipe("llama", "gpt2", tokens, plain.kinds, merges=plain.merges, fields=plain.fields)
    ours = Tokenizer.from_file(str(converted(recipe, tmp_path) / "tokenizer.json"))
    assert ours.encode("<\uff5cbegin\uff5c>").ids == [len(tokens) - 2] * 2


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        (Recipe("bert", "bert", ["a"], [1]), "type 'bert'; known are gemma4, gpt2, llama"),
        (Recipe("llama", "llama", ["a"], ["normal"]), "tokenizer.ggml.token_type is not a list of int"),
        (Recipe("llama", "llama", [], []), "holds no vocabulary"),
        (
            Recipe("llama", "llama", ["a"], [1], [0.0], fields={"bos_token_id": 7}),
            "names a special token that",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_made_is_refused(recipe: Recipe, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=complaint):
        converted(recipe, tmp_path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no gguf at all" * 100])
def test_a_file_that_is_no_gguf_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    spec = ModelSpec("mine", f"file://{tmp_path}/model.gguf", Task.GENERATE, weights=Format.GGUF)
    with pytest.raises(FailedPrecondition, match=r"model.gguf is not a GGUF file that can be read"):
        Store(tmp_path / "cache").tokenizer(spec)


def test_a_folder_without_one_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds 0 GGUF files"):
        convert_tokenizer(tmp_path, tmp_path)
