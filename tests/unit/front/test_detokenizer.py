"""What a detokeniser gives, piece by piece, is what decoding everything at once gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.front.detokenizer import Detokenizer
from gateway.front.vocabulary import ArtifactFormat, Vocabulary, vocabulary
from tests.unit.front.vocabularies import Sample, byte_fallback, real, sentence_piece

ALL = ["smollm2-135m-instruct", "all-minilm-l6-v2", "byte_fallback", "sentence_piece"]
seeded = settings(max_examples=200, derandomize=True, deadline=None)
cuts = st.lists(st.integers(1, 9), max_size=80)
texts = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=60) | st.lists(
    st.sampled_from(["Paris", " ", "don't .", "é", "日本", "👩‍👩‍👧", "🏳️‍🌈", "\u200b", "ß", "  "]), max_size=12
).map("".join)


def sample(name: str) -> Sample:
    if name == "byte_fallback":
        return byte_fallback()
    return sentence_piece() if name == "sentence_piece" else real(name)


def streamed(
    vocabulary: Vocabulary, ids: Sequence[int], sizes: Sequence[int], context: Sequence[int] = ()
) -> str:
    """Return what a detokeniser makes of `ids` in pieces of `sizes`, then of one id."""
    detokenizer, rest = Detokenizer(vocabulary, context), iter(ids)
    pieces = [detokenizer.feed(list(islice(rest, size))) for size in sizes]
    pieces += [detokenizer.feed([each]) for each in rest]
    return "".join([*pieces, detokenizer.flush()])


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "all-minilm-l6-v2"])
def test_any_ids_in_any_pieces_read_as_a_whole(name: str) -> None:
    of = sample(name)
    # Half of them low: there stand the bytes of a byte-level tokenizer, and the special tokens.
    ids = st.lists(st.integers(0, of.size - 1) | st.integers(0, 300), max_size=80)

    @seeded
    @given(ids=ids, sizes=cuts)
    def check(ids: list[int], sizes: list[int]) -> None:
        assert streamed(of.vocabulary, ids, sizes) == of.vocabulary.decode(ids)

    check()


@pytest.mark.parametrize("name", ALL)
def test_any_text_in_any_pieces_reads_as_a_whole(name: str) -> None:
    of = sample(name)

    @seeded
    @given(text=texts, sizes=cuts)
    def check(text: str, sizes: list[int]) -> None:
        ids = of.encode(text)
        assert streamed(of.vocabulary, ids, sizes) == of.vocabulary.decode(ids)

    check()


@pytest.mark.parametrize("name", ALL)
def test_an_answer_goes_on_from_its_prompt(name: str) -> None:
    of = sample(name)

    @seeded
    @given(prompt=texts.filter(str.strip), text=texts, sizes=cuts)
    def check(prompt: str, text: str, sizes: list[int]) -> None:
        context, ids = of.encode(prompt), of.encode(text)
        before = of.vocabulary.decode(context)
        if not before or before.endswith("\ufffd"):
            return
        whole = of.vocabulary.decode([*context, *ids])
        assert before + streamed(of.vocabulary, ids, sizes, context) == whole

    check()


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "byte_fallback", "sentence_piece"])
def test_half_a_character_is_held_back_until_the_end(name: str) -> None:
    of = sample(name)
    *ids, _ = of.encode("a🦜")
    detokenizer = Detokenizer(of.vocabulary)
    assert "".join(detokenizer.feed([each]) for each in ids) == "a"
    assert "a" + detokenizer.flush() == of.vocabulary.decode(ids) != "a"


def test_ids_of_no_text_and_unknown_ids_add_nothing() -> None:
    for name in ALL:
        of = sample(name)
        ids = [of.special, *of.encode("Oslo"), of.special, of.special, of.size + 7, 2**32 - 1]
        assert streamed(of.vocabulary, ids, []) == of.vocabulary.decode(of.encode("Oslo"))


def test_a_byte_that_cannot_follow_leaves_what_was_sent_as_it_is() -> None:
    of = byte_fallback()
    euro = of.encode("€")[-3:]
    detokenizer = Detokenizer(of.vocabulary)
    sent = [detokenizer.feed([each]) for each in (*euro, euro[0], *of.encode("a"))]
    assert sent == ["", "", "€", "", "\ufffd a"]


def test_text_that_never_becomes_whole_is_let_go_in_bounded_pieces() -> None:
    of = real("smollm2-135m-instruct")
    broken = of.encode("🦜")[:1]
    detokenizer = Detokenizer(of.vocabulary)
    pieces = [detokenizer.feed(broken) for _ in range(200)]
    assert max(map(len, pieces)) < 70
    assert "".join(pieces) + detokenizer.flush() == "\ufffd" * 200


def test_a_prompt_that_ends_amid_a_character_is_no_context() -> None:
    of = real("smollm2-135m-instruct")
    parrot = of.encode("🦜")
    assert streamed(of.vocabulary, [*parrot, *of.encode(" Oslo")], [], parrot[:1]) == "🦜 Oslo"


@pytest.mark.parametrize("form", ArtifactFormat)
def test_bytes_that_are_no_artefact_are_refused(form: ArtifactFormat) -> None:
    with pytest.raises(ValueError, match="no "):
        vocabulary(form, b"\x00 nonsense")
