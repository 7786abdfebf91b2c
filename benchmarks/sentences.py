"""Sentences of mixed lengths, cut from the documentation of packages that are pinned in constraints.txt.

Paragraphs of docstrings that are prose (nine characters of ten are letters or spaces) follow each other in
an order drawn from a fixed seed, and cut into pieces whose lengths in wordpiece tokens are drawn from a
lognormal distribution: median 33, mean 40, 4 to 194 tokens, [CLS] and [SEP] among them.
"""

from __future__ import annotations

import ast
import math
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

SOURCES = ("torch.nn.modules", "torch.optim", "transformers.generation", "transformers.pipelines", "grpc")
SEED = 5
MEDIAN_TOKENS, SPREAD, LEAST_TOKENS, MOST_TOKENS = 33, 0.62, 4, 194
LEAST_WORDS, PROSE = 8, 0.9
ENDS = 2  # [CLS] and [SEP]


def sentences(count: int, encoder: Path) -> list[str]:
    """Return `count` sentences, the same for the same versions; `encoder` is a folder with tokenizer.json."""
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @cache
    def pieces(word: str) -> int:
        return len(tokenizer.encode(word, add_special_tokens=False).ids)

    numbers = random.Random(SEED)
    paragraphs = list(prose())
    numbers.shuffle(paragraphs)
    words = [(word, pieces(word)) for paragraph in paragraphs for word in paragraph.split()]
    return list(cut(words, count, numbers))


def cut(words: Sequence[tuple[str, int]], count: int, numbers: random.Random) -> Iterator[str]:
    """Yield `count` pieces of the text, each as long as the distribution says; begins anew at its end.

    A word is given with its number of tokens. A piece has at least one word.
    """
    at = 0
    for _ in range(count):
        drawn = numbers.lognormvariate(math.log(MEDIAN_TOKENS), SPREAD)
        room = min(max(round(drawn), LEAST_TOKENS), MOST_TOKENS) - ENDS
        piece: list[str] = []
        while not piece or words[at % len(words)][1] <= room:
            word, tokens = words[at % len(words)]
            piece.append(word)
            room -= tokens
            at += 1
        yield " ".join(piece)


def prose(sources: Sequence[str] = SOURCES) -> Iterator[str]:
    """Yield the sources' paragraphs, file by file in order of their names."""
    for source in sources:
        spec = find_spec(source)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{source} is not installed: its documentation is what is embedded")
        for file in sorted(Path(spec.origin).parent.rglob("*.py")):
            yield from filter(_is_prose, _paragraphs(file))


def _paragraphs(file: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        for paragraph in re.split(r"\n\s*\n", text or ""):
            yield " ".join(paragraph.split())


def _is_prose(paragraph: str) -> bool:
    plain = sum(letter.isalpha() or letter == " " for letter in paragraph)
    return len(paragraph.split()) >= LEAST_WORDS and plain >= PROSE * len(paragraph)
