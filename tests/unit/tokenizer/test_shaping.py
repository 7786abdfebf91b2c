"""Cutting and filling, held against the tokenizers library's own, which needs settings on a shared object."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.tokenizer.inputs import EncodeOptions, Padding, Truncation
from services.tokenizer.shaping import Encoded, pad, padded_length, shape
from tests.real_models import EMBEDDER, tokenizer_files

WORDS = st.integers(0, 12).map(lambda count: " ".join(f"word{number}" for number in range(count)))


def tokenizer() -> Tokenizer:
    loaded = Tokenizer.from_file(str(tokenizer_files(EMBEDDER).path))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    return tokenizer()


@pytest.fixture(scope="module")
def cutting() -> Tokenizer:
    return tokenizer()


ALL = {"offsets": True, "attention_mask": True, "special_tokens_mask": True, "type_ids": True}


@given(texts=st.tuples(WORDS, st.none() | WORDS), limit=st.integers(3, 40), left=st.booleans())
@settings(max_examples=150, derandomize=True, deadline=None)
def test_an_input_is_cut_as_the_library_would(
    plain: Tokenizer, cutting: Tokenizer, texts: tuple[str, str | None], limit: int, left: bool
) -> None:
    cutting.enable_truncation(limit, direction="left" if left else "right")
    theirs = cutting.encode(*texts)
    whole = plain.encode(*texts)

    ours = shape(whole, EncodeOptions(truncation=Truncation(limit, left), **ALL), frozenset())
    assert ours.ids == theirs.ids
    assert ours.offsets == theirs.offsets
    assert ours.type_ids == theirs.type_ids
    assert ours.special_tokens_mask == theirs.special_tokens_mask
    assert ours.attention_mask == theirs.attention_mask
    assert ours.truncated_tokens == len(whole) - len(theirs)


@given(
    text=WORDS,
    padding=st.builds(Padding, st.none() | st.integers(0, 20), st.integers(1, 8), st.booleans()),
)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_an_input_is_filled_as_the_library_would(
    plain: Tokenizer, cutting: Tokenizer, text: str, padding: Padding
) -> None:
    cutting.no_truncation()
    cutting.enable_padding(
        direction="left" if padding.left else "right",
        pad_id=7,
        length=padding.length,
        pad_to_multiple_of=padding.multiple_of,
    )
    theirs = cutting.encode_batch([text])[0]

    encoded = shape(plain.encode(text), EncodeOptions(**ALL), frozenset())
    filled = padded_length(len(encoded.ids), padding)
    ours = pad(encoded, filled, 7, left=padding.left)
    assert ours.ids == theirs.ids
    assert ours.offsets == theirs.offsets
    assert ours.type_ids == theirs.type_ids
    assert ours.special_tokens_mask == theirs.special_tokens_mask
    assert ours.attention_mask == theirs.attention_mask


def test_what_was_not_asked_for_is_not_there(plain: Tokenizer) -> None:
    sequence = plain.encode("one two")
    shaped = shape(sequence, EncodeOptions(), frozenset())
    assert pad(shaped, 9, 0, left=True) == Encoded(ids=[0] * (9 - len(sequence)) + sequence.ids)


def test_special_tokens_that_a_text_spells_are_marked(plain: Tokenizer) -> None:
    sequence = plain.encode("a [SEP] b")
    shaped = shape(sequence, EncodeOptions(special_tokens_mask=True), frozenset({101, 102}))
    assert shaped.special_tokens_mask == [1, 0, 1, 0, 1]
