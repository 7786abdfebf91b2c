from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.kit.errors import Cancelled, InvalidArgument
from services.tokenizer.backend import EncodeError, Item, TokenSequence
from services.tokenizer.encoder import Encoder
from services.tokenizer.inputs import EncodeOptions, Pair, Text
from services.tokenizer.jobs import CountJob
from services.tokenizer.sentence_piece import PieceSequence


@dataclass
class Letters:
    """A tokenizer that makes a token of each character, and knows no question marks."""

    vocabulary_size: int = 0x110000
    special_ids: frozenset[int] = frozenset()
    calls: list[int] = field(default_factory=list)

    def added_tokens(self, *, pair: bool) -> int:
        return 0

    def token_id(self, text: str) -> int | None:
        return None

    def encode(
        self, items: Sequence[Item], *, add_special_tokens: bool, offsets: bool
    ) -> Sequence[TokenSequence]:
        self.calls.append(len(items))
        if any("?" in item for item in items):
            raise EncodeError("no such character")
        ids = [tuple(map(ord, item if isinstance(item, str) else "".join(item))) for item in items]
        return [PieceSequence(each, ((0, 0),) * len(each), each, each) for each in ids]

    def decode(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        raise NotImplementedError


def count(*texts: str, special: bool = True) -> CountJob:
    return CountJob([Text(text) for text in texts], EncodeOptions(add_special_tokens=special))


def run(letters: Letters, *jobs: CountJob, abandoned: bool = False) -> list[object]:
    return Encoder("letters", letters, None).run(jobs, lambda: abandoned)


def test_jobs_of_one_kind_travel_as_one_call() -> None:
    letters = Letters()
    pair = CountJob([Pair("ab", "c")], EncodeOptions())
    assert run(letters, count("a", "bb"), count("ccc"), pair) == [[1, 2], [3], [3]]
    assert letters.calls == [4]


def test_jobs_of_two_kinds_travel_as_two() -> None:
    letters = Letters()
    assert run(letters, count("a"), count("bb", special=False)) == [[1], [2]]
    assert letters.calls == [1, 1]


def test_no_call_takes_more_text_than_fits() -> None:
    letters = Letters()
    large = "x" * 600_000
    assert run(letters, count(large, "y"), count(large)) == [[600_000, 1], [600_000]]
    assert letters.calls == [2, 1]


def test_a_text_that_cannot_be_encoded_fails_its_own_call() -> None:
    good, bad = run(Letters(), count("a", "b"), count("c", "what?"))
    assert good == [1, 1]
    assert isinstance(bad, InvalidArgument)
    assert bad.violations[0].field == "inputs[1]"


def test_nothing_is_encoded_for_nobody() -> None:
    letters = Letters()
    [outcome] = run(letters, count("a"), abandoned=True)
    assert isinstance(outcome, Cancelled)
    assert letters.calls == []
