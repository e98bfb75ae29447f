"""On which words and signs of texts a unit fires, from the tokens of its model on which it does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from saywell.claims.corpus import Corpus


class FiredWords(NamedTuple):
    """Words and signs on which a unit fires, by their place in a corpus, ascending."""

    tokens: Int[np.ndarray, " words"]
    values: Float32[np.ndarray, " words"]
    """The highest among the pieces of each."""
    pieces: int
    """Tokens of the model on which it fires."""
    beside: int
    """Those of them that are on no word or sign: white space."""


def fired_words(
    corpus: Corpus,
    texts: Int[np.ndarray, " fired"],
    spans: Int[np.ndarray, "fired 2"],
    values: Float32[np.ndarray, " fired"],
) -> FiredWords:
    """The words and signs on which tokens of a model are, each with the highest value of its pieces.

    `spans`: characters of a text that each token covers, end exclusive. See `words_at` for which word.
    """
    at = words_at(corpus, texts, spans)
    there = at >= 0
    words, number = np.unique(at[there], return_inverse=True)
    highest = np.full(len(words), -np.inf, dtype=np.float32)
    np.maximum.at(highest, number, values[there])
    return FiredWords(words, highest, len(at), int(len(at) - there.sum()))


def words_at(
    corpus: Corpus, texts: Int[np.ndarray, " spans"], spans: Int[np.ndarray, "spans 2"]
) -> Int[np.ndarray, " spans"]:
    """The word or sign that holds the last letter of each span: a piece of a word is part of that word.

    White space right before one belongs to it, as some models cut it off; -1 where there is none.
    """
    first = corpus.first[texts]
    # All tokens in one row, those of each text behind those of the texts before it.
    room = 1 + max((int(side.max(initial=0)) for side in (corpus.end, spans)), default=0)
    places = np.searchsorted(
        corpus.text * np.int64(room) + corpus.start, texts * np.int64(room) + spans[:, 1], side="left"
    )
    found = places - 1
    if not len(corpus):
        return np.full(len(texts), -1)
    ends, starts = corpus.end[np.maximum(found, 0)], corpus.start[np.minimum(places, len(corpus) - 1)]
    inside = (found >= first) & (ends > spans[:, 0])
    ahead = (places < corpus.first[texts + 1]) & (starts == spans[:, 1])
    return np.where(inside, found, np.where(ahead, places, -1))
