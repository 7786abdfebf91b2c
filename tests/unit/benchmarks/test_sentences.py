"""How sentences are cut."""

import random
import statistics

from benchmarks.sentences import MOST_TOKENS, cut

WORDS = [(f"word{number}", 1 + number % 3) for number in range(5_000)]
TOKENS = dict(WORDS)


def lengths(count: int, seed: int) -> list[int]:
    return [sum(TOKENS[word] for word in piece.split()) for piece in cut(WORDS, count, random.Random(seed))]


def test_the_same_seed_cuts_the_same_sentences():
    assert list(cut(WORDS, 50, random.Random(1))) == list(cut(WORDS, 50, random.Random(1)))


def test_lengths_are_spread_as_promised():
    found = lengths(4_000, 5)
    assert 35 < statistics.mean(found) < 41
    assert 29 < statistics.median(found) < 34
    assert max(found) <= MOST_TOKENS


def test_no_sentence_is_empty_even_of_words_that_are_longer_than_it():
    assert all(piece for piece in cut([("antidisestablishmentarianism", 400)], 5, random.Random(1)))
