from __future__ import annotations

import pytest
from sentencepiece import SentencePieceProcessor

from services.tokenizer.sentence_piece import SentencePieceTokenizer
from tests.real_models import TEXTS
from tests.sentence_pieces import model

SEEN = [text for text in TEXTS if "</s>" not in text]


@pytest.fixture(scope="module")
def pieces() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_proto=model())


@pytest.fixture(scope="module")
def tokenizer() -> SentencePieceTokenizer:
    return SentencePieceTokenizer(model())


@pytest.mark.parametrize("text", SEEN)
def test_ids_and_texts_are_those_of_the_library(
    tokenizer: SentencePieceTokenizer, pieces: SentencePieceProcessor, text: str
) -> None:
    [bare] = tokenizer.encode([text], add_special_tokens=False, offsets=True)
    [whole] = tokenizer.encode([text], add_special_tokens=True, offsets=True)
    ids = pieces.encode(text)

    assert list(bare.ids) == ids
    assert list(whole.ids) == [pieces.bos_id(), *ids]
    assert tokenizer.decode([whole.ids], skip_special_tokens=True) == [pieces.decode(ids)]
    assert (
        len(whole.ids) == len(whole.offsets) == len(whole.type_ids) == len(whole.sequence_ids) == len(whole)
    )


def test_offsets_count_code_points(tokenizer: SentencePieceTokenizer) -> None:
    text = "the é 日本"
    [sequence] = tokenizer.encode([text], add_special_tokens=True, offsets=True)
    assert sequence.offsets[0] == (0, 0)
    assert max(end for _, end in sequence.offsets) == len(text)
    assert text[slice(*sequence.offsets[1])].strip() in {"the", "t", "th"}


def test_of_a_pair_each_text_has_its_own_special_tokens(tokenizer: SentencePieceTokenizer) -> None:
    [one] = tokenizer.encode(["a"], add_special_tokens=True, offsets=True)
    [two] = tokenizer.encode([("a", "a")], add_special_tokens=True, offsets=True)
    assert list(two.ids) == [*one.ids, *one.ids]
    assert list(two.type_ids) == [0] * len(one) + [1] * len(one)
    assert tokenizer.added_tokens(pair=True) == 2 * tokenizer.added_tokens(pair=False) == 2


def test_control_tokens_that_a_text_spells_become_their_ids(tokenizer: SentencePieceTokenizer) -> None:
    [sequence] = tokenizer.encode(["the </s> the"], add_special_tokens=False, offsets=True)
    end = tokenizer.token_id("</s>")
    place = sequence.ids.index(end)
    assert sequence.offsets[place] == (4, 8)
    assert "</s>" in tokenizer.decode([sequence.ids], skip_special_tokens=False)[0]
    assert "</s>" not in tokenizer.decode([sequence.ids], skip_special_tokens=True)[0]


@pytest.mark.parametrize(
    ("add_bos", "add_eos", "expected"),
    [(None, None, ["<s>"]), (False, None, ["</s>"]), (True, True, ["<s>", "</s>"]), (False, False, [])],
)
def test_special_tokens_around_a_text_follow_the_configuration(
    pieces: SentencePieceProcessor, add_bos: bool | None, add_eos: bool | None, expected: list[str]
) -> None:
    tokenizer = SentencePieceTokenizer(model(), add_bos=add_bos, add_eos=add_eos)
    [sequence] = tokenizer.encode([""], add_special_tokens=True, offsets=False)
    assert [pieces.id_to_piece(each) for each in sequence.ids] == expected


def test_a_token_is_found_by_its_text_or_not_at_all(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.token_id("<s>") in tokenizer.special_ids
    assert tokenizer.token_id("no such piece") is None


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(ValueError, match="the SentencePiece model cannot be used"):
        SentencePieceTokenizer(b"rubbish")
