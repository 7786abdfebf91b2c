"""The filter language's grammar: text to a tree.

    either     = both { "or" both }
    both       = term { "and" term }
    term       = "not" term | "(" either ")" | condition
    condition  = name [ ("==" | "!=" | "<" | "<=" | ">" | ">=") value | ["not"] "in" list ] | value "in" name
    list       = "[" [ value { "," value } ] "]"
    value      = "text" | 'text' | number | true | false

A name is a letter or _ followed by letters, digits, _, . and -; others stand in backquotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from services.kit.errors import InvalidArgument, invalid

MAX_CHARACTERS = 4_096
MAX_DEPTH = 50
MAX_VALUES = 1_000

Literal: TypeAlias = str | float | bool


@dataclass(frozen=True, slots=True)
class Compare:
    """A name beside a value; a lone name is `name == true`."""

    name: str
    operator: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Within:
    """A name whose value, or one of whose values, is in a list."""

    name: str
    values: tuple[Literal, ...]
    negated: bool = False
    """`not in`: it has values, and none of them is in the list."""


@dataclass(frozen=True, slots=True)
class Not:
    """What its term is not."""

    term: Expression


@dataclass(frozen=True, slots=True)
class All:
    """`and`."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """`or`."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Compare | Within | Not | All | Some

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>`[^`]+`|[^\W\d][\w.\-]*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],]))""",
    re.VERBOSE,
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_WORDS = frozenset({"and", "or", "not", "in", "true", "false"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str, field: str = "filter") -> Expression:
    """Return the tree of an expression.

    Raises InvalidArgument for `field`, with the position (from 1, in characters) of what is wrong.
    """
    if len(text) > MAX_CHARACTERS:
        raise invalid(field, f"must have at most {MAX_CHARACTERS} characters, not {len(text)}")
    return _Parser(text, field).whole()


class _Parser:
    def __init__(self, text: str, field: str) -> None:
        self._field = field
        self._tokens = list(_tokens(text, field))
        self._place = 0
        self._depth = 0

    def whole(self) -> Expression:
        tree = self._either()
        if self._now.kind != "end":
            self._fail("expected 'and', 'or' or the end")
        return tree

    @property
    def _now(self) -> _Token:
        return self._tokens[self._place]

    def _either(self) -> Expression:
        return self._joined("or", self._both, Some)

    def _both(self) -> Expression:
        return self._joined("and", self._term, All)

    def _joined(
        self, word: str, part: Callable[[], Expression], join: Callable[[tuple[Expression, ...]], Expression]
    ) -> Expression:
        terms = [part()]
        while self._accept(word):
            terms.append(part())
        return terms[0] if len(terms) == 1 else join(tuple(terms))

    def _term(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH}")
        tree = self._single()
        self._depth -= 1
        return tree

    def _single(self) -> Expression:
        if self._accept("not"):
            return Not(self._term())
        if self._accept("("):
            tree = self._either()
            self._expect(")")
            return tree
        if self._now.kind == "name" and self._now.text not in _WORDS:
            return self._condition(self._name())
        value = self._value()
        self._expect("in")
        return Within(self._name(), (value,))

    def _condition(self, name: str) -> Expression:
        if self._now.kind == "sign" and self._now.text in _COMPARISONS:
            return self._comparison(name)
        if self._accept("not"):
            self._expect("in")
            return Within(name, self._list(), negated=True)
        if self._accept("in"):
            return Within(name, self._list())
        return Compare(name, "==", value=True)

    def _comparison(self, name: str) -> Expression:
        operator, at = self._take().text, self._place
        value = self._value()
        if operator not in ("==", "!=") and (isinstance(value, str | bool)):
            self._place = at
            self._fail(f"expected a number after {operator!r}")
        return Compare(name, operator, value)

    def _list(self) -> tuple[Literal, ...]:
        self._expect("[")
        values: list[Literal] = []
        while not self._accept("]"):
            if values:
                self._expect(",")
            values.append(self._value())
            if len(values) > MAX_VALUES:
                self._fail(f"a list of more than {MAX_VALUES} values")
        return tuple(values)

    def _value(self) -> Literal:
        token = self._now
        if token.kind == "number":
            return float(self._take().text)
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", self._take().text[1:-1], flags=re.DOTALL)
        if token.kind == "name" and token.text in ("true", "false"):
            return self._take().text == "true"
        return self._fail("expected a value: a number, true, false or a text in quotes")

    def _name(self) -> str:
        if self._now.kind != "name" or self._now.text in _WORDS:
            self._fail("expected a name")
        return self._take().text.strip("`")

    def _accept(self, text: str) -> bool:
        if self._now.text != text or self._now.kind not in ("name", "sign"):
            return False
        self._place += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            self._fail(f"expected {text!r}")

    def _take(self) -> _Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _fail(self, complaint: str) -> NoReturn:
        raise _wrong(self._field, self._now.at, complaint)


def _tokens(text: str, field: str) -> list[_Token]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(field, at, f"cannot read {text[at : at + 10]!r}")
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return [*tokens, _Token("end", "", end)]


def _wrong(field: str, at: int, complaint: str) -> InvalidArgument:
    return invalid(field, f"does not parse at character {at + 1}: {complaint}")
