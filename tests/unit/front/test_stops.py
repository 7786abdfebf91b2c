"""Stop strings are found wherever a stream of text is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.front.stops import StopScanner

seeded = settings(max_examples=200, derandomize=True, deadline=None)
# Few letters, so that stop strings overlap themselves, each other and the text.
texts = st.text(alphabet="abc\n", max_size=40)
stops = st.lists(st.text(alphabet="abc\n", min_size=1, max_size=5), max_size=4)


def scan(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    scanner = StopScanner(stops)
    sent = "".join(scanner.feed(piece) for piece in pieces)
    return sent + scanner.flush(), scanner.matched


def search(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Return what the scanner promises, by looking at the whole text."""
    for end in range(len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            longest = max(met, key=len)
            return text[: end - len(longest)], longest
    return text, None


@seeded
@given(text=texts, stops=stops, cuts=st.lists(st.integers(0, 40), max_size=8))
def test_any_pieces_give_what_a_search_of_the_whole_gives(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert scan(pieces, stops) == search(text, stops)


@seeded
@given(text=texts, stops=stops)
def test_nothing_sent_is_ever_taken_back_and_nothing_is_held_without_need(
    text: str, stops: list[str]
) -> None:
    scanner, sent = StopScanner(stops), ""
    for count, letter in enumerate(text, start=1):
        sent += scanner.feed(letter)
        if scanner.matched is not None:
            break
        held = text[len(sent) : count]
        assert sent == text[: len(sent)]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_without_stop_strings_everything_passes() -> None:
    assert scan(["Oslo", " and ", "Paris"], []) == ("Oslo and Paris", None)


def test_a_stop_string_across_pieces_is_cut_off() -> None:
    assert scan(["Oslo", "\n", "\nUs", "er: no"], ["\n\nUser:"]) == ("Oslo", "\n\nUser:")


def test_an_unfinished_stop_string_at_the_end_is_text() -> None:
    assert scan(["Oslo\n", "\nUs"], ["\n\nUser:"]) == ("Oslo\n\nUs", None)
