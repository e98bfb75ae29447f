"""What is known of a word from its form: its lemma, and the classes that it belongs to."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Bool

from saywell.claims.corpus import NUMBER, Corpus
from saywell.data.words import is_function_word

CLASSES = {"number": "numbers", "function": "function words", "capitalised": "words with a capital letter"}
"""Each class, and its name in the plural."""


@cache
def lemma(form: str) -> str:
    """The base form of an English word in small letters; the word itself where none is known."""
    import simplemma

    return simplemma.lemmatize(form, lang="en").lower()


def class_mask(corpus: Corpus, name: str) -> Bool[np.ndarray, " tokens"]:
    """Which tokens belong to a class."""
    if name == "number":
        return corpus.kind == NUMBER
    if name == "capitalised":
        return corpus.capital & ~corpus.opens_sentence
    return corpus.of_forms(is_function_word)
