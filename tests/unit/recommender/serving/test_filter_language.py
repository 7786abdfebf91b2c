"""The filter language: what parses, what it finds, where it says that something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import InvalidArgument
from services.recommender.entities import Item
from services.recommender.serving.filter_syntax import All, Compare, Not, Some, Within, parse
from services.recommender.serving.filters import Filters
from services.recommender.store.catalogue import Catalogue
from tests.unit.recommender.serving.worlds import film, opened


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with opened(tmp_path) as world:
        await world.store.catalogue.upsert(
            [
                film("war", 1, tags=("old", "black and white")),
                film("war", 2, attributes={"price": 20.0, "sold out": True, "colours": ("red", "blue")}),
                Item("bare"),
            ]
        )
        yield world.store.catalogue


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('category == "war"', {"war-1", "war-2"}),
        ('category in ["war", "comedy"] and price < 20', {"war-1"}),
        ('price >= 20 or tag == "old"', {"war-1", "war-2"}),
        ('"red" in colours', {"war-2"}),
        ('colours != "red"', set()),
        ('colours not in ["green"]', {"war-2"}),
        ('not colours == "red"', {"war-1", "bare"}),
        ("`sold out`", {"war-2"}),
        ("not hidden", {"war-1", "war-2", "bare"}),
        ("price != 20", {"war-1"}),
        ("not (price > 0)", {"bare"}),
        ("price in [1, 20.0]", {"war-1", "war-2"}),
        ('item_id in ["bare", "unheard-of"]', {"bare"}),
        ("age > 1e6", {"war-1", "war-2", "bare"}),
        ("category in []", set()),
        ('nothing == "x" or unknown < 3 or neither', set()),
    ],
)
async def test_expressions_find_what_they_say(catalogue: Catalogue, text: str, found: set[str]):
    mask = Filters(catalogue).mask(text, now=2e9)
    assert {each for each, there in zip(catalogue.ids, mask, strict=True) if there} == found


async def test_a_mask_follows_the_catalogue(catalogue: Catalogue):
    filters = Filters(catalogue)
    assert filters.mask("price > 100", 0.0).sum() == 0
    await catalogue.upsert([film("war", 101)])
    assert filters.mask("price > 100", 0.0).sum() == 1


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("price <", 8),
        ("price < 3 and", 14),
        ("price < 'a'", 9),
        ("(price < 3", 11),
        ("price @ 3", 7),
        ("price < 3 price", 11),
        ('"open', 1),
        ("in [1]", 1),
        ("a in [1 2]", 9),
        ("not", 4),
        ("3", 2),
    ],
)
def test_a_mistake_is_told_with_its_position(text: str, position: int):
    with pytest.raises(InvalidArgument) as refused:
        parse(text, "options.filter")
    assert f"character {position}:" in refused.value.message
    assert refused.value.violations[0].field == "options.filter"


def test_too_deep_and_too_long_expressions_are_refused():
    for text in ("(" * 100 + "a" + ")" * 100, "not " * 500 + "a", "a" * 5_000):
        with pytest.raises(InvalidArgument):
            parse(text)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"and", "or", "not", "in", "true", "false"}
)
values = st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
trees = st.recursive(
    st.builds(Compare, names, st.sampled_from(["==", "!="]), values)
    | st.builds(Within, names, st.lists(values, max_size=3).map(tuple), st.booleans()),
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(All, st.tuples(inner, inner))
        | st.builds(Some, st.tuples(inner, inner))
    ),
    max_leaves=6,
)


def written(tree: object) -> str:
    match tree:
        case Not(term):
            return f"not ({written(term)})"
        case All(terms):
            return " and ".join(f"({written(each)})" for each in terms)
        case Some(terms):
            return " or ".join(f"({written(each)})" for each in terms)
        case Within(name, listed, negated):
            return f"{name} {'not in' if negated else 'in'} [{', '.join(map(literal, listed))}]"
        case Compare(name, sign, value):
            return f"{name} {sign} {literal(value)}"
    raise AssertionError(tree)


def literal(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


@given(trees)
def test_what_is_written_is_read_again(tree: object):
    assert parse(written(tree)) == tree


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str):
    try:
        parse(text)
    except InvalidArgument as refused:
        if not refused.violations:
            raise
