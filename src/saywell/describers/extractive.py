"""The phrases that a unit's exemplars say more often than other texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from scipy import stats

from saywell.data.examples import Kind
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_NAMED, MOST_SOURCES
from saywell.describers.phrases import PhraseCounts, log_odds_z
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

MIN_HITS = 3
LEVEL = 0.05


@dataclass(frozen=True)
class Extractive:
    """Names up to five phrases of the texts themselves; needs no descriptors, encoder or LLM."""

    name: str = "extractive"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Silence where no phrase stands out (see `typical_phrases`)."""
        counts = PhraseCounts(evidence.examples.texts, min_sentences=MIN_HITS)
        found = typical_phrases(counts, evidence.places)
        said = []
        for unit, places, keys in zip(evidence.ids, evidence.places, found, strict=True):
            if keys:
                shown = places[np.asarray(counts.matrix[places][:, keys].sum(1)).ravel() > 0]
                phrases = tuple(counts.wordings[key] for key in keys)
                sources = tuple(evidence.examples.ids[place] for place in shown[:MOST_SOURCES])
                said.append(Description(unit, ", ".join(phrases), parts=phrases, sources=sources))
            else:
                why = "no phrase stands out among its exemplars" if len(places) else "it has no exemplars"
                said.append(Description(unit, "", f"no description: {why}"))
        return said


def typical_phrases(counts: PhraseCounts, exemplars: Sequence[Int[np.ndarray, " _"]]) -> list[list[int]]:
    """Up to five phrases per unit (by column), the most typical first; none where none stands out.

    A phrase stands out when its log-odds z score against all other texts would be exceeded once in
    twenty units by the best of all phrases of the corpus, were there nothing to find (Bonferroni
    over phrases), and at least three exemplars say it. Phrases that are part of a named one, or
    contain it, are not named again.
    """
    if not counts.keys:
        return [[] for _ in exemplars]
    least = stats.norm.isf(LEVEL / len(counts.keys))
    total = np.asarray(counts.matrix.sum(0), dtype=np.float64).ravel()
    found = []
    for chosen in exemplars:
        hits = np.asarray(counts.matrix[chosen].sum(0), dtype=np.float64).ravel()
        z = log_odds_z(np.stack([hits, total - hits]))[0]
        standing_out = np.flatnonzero((z >= least) & (hits >= MIN_HITS))
        named: list[int] = []
        # Words that are only ever said together tie with their phrase, and it says more.
        for n in sorted(standing_out.tolist(), key=lambda n: (-z[n], -counts.keys[n].count(" "), n)):
            padded = f" {counts.keys[n]} "
            others = (f" {counts.keys[key]} " for key in named)
            if len(named) < MOST_NAMED and not any(padded in other or other in padded for other in others):
                named.append(n)
        found.append(named)
    return found
