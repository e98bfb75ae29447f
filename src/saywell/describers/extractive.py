"""The extractive describer of units: the phrases that its exemplars say more often than other texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from scipy import stats

from saywell.describers.phrases import PhraseCounts, log_odds_z

MIN_HITS = 3
MOST_NAMED = 3
LEVEL = 0.05


def describe_by_phrases(texts: Sequence[str], exemplars: Bool[np.ndarray, "units texts"]) -> list[list[str]]:
    """Up to three phrases per unit, the most typical first; none where none stands out.

    A phrase stands out when its log-odds z score against all other texts would be exceeded once in
    twenty units by the best of all phrases of the corpus, were there nothing to find (Bonferroni
    over phrases), and at least three exemplars say it. Phrases that are part of a named one, or
    contain it, are not named again.
    """
    counts = PhraseCounts(texts, min_sentences=MIN_HITS)
    if not counts.keys:
        return [[] for _ in exemplars]
    least = stats.norm.isf(LEVEL / len(counts.keys))
    total = np.asarray(counts.matrix.sum(0), dtype=np.float64).ravel()
    found = []
    for chosen in exemplars:
        hits = np.asarray(counts.matrix[chosen].sum(0), dtype=np.float64).ravel()
        z = log_odds_z(np.stack([hits, total - hits]))[0]
        standing_out = np.flatnonzero((z >= least) & (hits >= MIN_HITS))
        named: list[str] = []
        keys: list[str] = []
        # Words that are only ever said together tie with their phrase, and it says more.
        ranked = sorted(standing_out, key=lambda n: (-z[n], -counts.keys[n].count(" "), n))
        for n in ranked:
            padded = f" {counts.keys[n]} "
            if len(named) < MOST_NAMED and not any(
                padded in f" {key} " or f" {key} " in padded for key in keys
            ):
                keys.append(counts.keys[n])
                named.append(counts.wordings[n])
        found.append(named)
    return found
