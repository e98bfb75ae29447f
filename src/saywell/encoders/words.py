"""Which words of a corpus get a vector of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from saywell.data.words import words

MOST_WORDS = 20_000
"""Words that get a vector at most: 31 MB at 384 numbers each."""


def vocabulary(texts: Iterable[str], most: int = MOST_WORDS) -> list[str]:
    """The words that texts say, those in most texts first, equals by the alphabet; at most so many."""
    counts = Counter(word for text in texts for word in set(words(text)))
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]
