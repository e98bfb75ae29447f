"""The feeling of a text by a lexicon."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

FEELINGS = ("positive", "negative")
CLEAR = 0.05
"""Of the compound score of VADER (Hutto and Gilbert 2014), from which on a text is not neutral."""


def feels(texts: Sequence[str], feeling: str) -> Bool[np.ndarray, " texts"]:
    """Which texts are clearly positive, or negative."""
    sign = 1 if feeling == FEELINGS[0] else -1
    return sign * polarity(texts) >= CLEAR


def polarity(texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """From -1 (negative) to 1 (positive)."""
    analyse = _analyser().polarity_scores
    return np.array([analyse(text)["compound"] for text in texts])


@cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
