"""The feeling of a text, and of a word, by a lexicon of English (VADER, Hutto and Gilbert 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from saywell.data.words import is_function_word, word_set, words

FEELINGS = ("positive", "negative")
CLEAR = 0.05
"""Of the compound score of VADER, from which on a text is not neutral."""
_FOREIGN = word_set(
    # German, French, Spanish, Italian, Portuguese, Dutch; none that English texts use, as words or in names
    "der das und ist nicht ein eine mit ich es auf sich auch dem zu sind wir"
    " le la les et est des une dans que qui pour je il elle avec sur ce du au c'est j'ai n'est"
    " las y una por para del muy pero como está di e che sono della il"
    " um uma não mais muito het een en niet dat ik zijn"
)
"""Short words of other languages: VADER would take a German "die" for the English one."""


def feels(polarities: Float[np.ndarray, " texts"], feeling: str) -> Bool[np.ndarray, " texts"]:
    """Which texts are clearly positive, or negative; one that is not in English is neither."""
    sign = 1 if feeling == FEELINGS[0] else -1
    return sign * polarities >= CLEAR


def polarity(texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """From -1 (negative) to 1 (positive)."""
    analyse = _analyser().polarity_scores
    return np.array([0.0 if _is_foreign(text) else analyse(text)["compound"] for text in texts], dtype=float)


@cache
def valence() -> Mapping[str, float]:
    """Of each word that the lexicon has: from -4 (negative) to 4 (positive)."""
    return _analyser().lexicon


def _is_foreign(text: str) -> bool:
    """Whether more short words of other languages stand in a text than of English."""
    said = words(text)
    foreign = sum(word in _FOREIGN for word in said)
    return foreign > 0 and foreign > sum(map(is_function_word, said))


@cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
