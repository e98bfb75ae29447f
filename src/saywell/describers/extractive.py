"""The words and phrases that tell the texts on which a unit fires from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool
from scipy import stats

from saywell.data.examples import Kind
from saywell.describers.associations import MIN_HITS, stands_out
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_SOURCES
from saywell.describers.phrases import Sayings, sayings
from saywell.describers.unions import best_together, firing
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

LEVEL = 0.05
MOST = 3
"""Words or phrases that a description names at most."""
GAIN = 1.1
"""One more is named where it raises the F1 of all together by a tenth."""
POOL = 100
"""Of so many with the highest F1 it is asked whether chance could do it, and which tell best together."""


@dataclass(frozen=True)
class Extractive:
    """Names up to three words or phrases of the texts themselves; needs no descriptors, encoder or LLM."""

    name: str = "extractive"
    version: int = 2
    kinds: Sequence[Kind] = ("text", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Silence where no phrase stands out (see `telling`)."""
        found = sayings(evidence.examples.texts, min_texts=MIN_HITS)
        told = firing(evidence, np.arange(len(evidence.examples)))
        return [
            _description(evidence, unit, found, telling(found, fires, known))
            for unit, (fires, known) in enumerate(told)
        ]


def _description(evidence: Evidence, unit: int, found: Sayings, columns: list[int]) -> Description:
    name, places = evidence.ids[unit], evidence.places[unit]
    if not columns:
        why = "no phrase stands out where it fires" if len(places) else "it has no exemplars"
        return Description(name, "", f"no description: {why}")
    shown = places[np.asarray(found.matrix[:, columns].tocsr()[places].sum(1)).ravel() > 0]
    phrases = tuple(found.wordings[column] for column in columns)
    sources = tuple(evidence.examples.ids[place] for place in shown[:MOST_SOURCES])
    return Description(name, ", ".join(phrases), parts=phrases, sources=sources)


def telling(
    found: Sayings, fires: Bool[np.ndarray, " texts"], known: Bool[np.ndarray, " texts"]
) -> list[int]:
    """Up to three columns of what is said that tell best, together, on which texts a unit fires.

    Each is said by three of these texts at least, its odds there are 1.5 times those in all `known` texts,
    and chance would hardly do it (Fisher's exact test, one-sided, Bonferroni over all that is said, 5 %).
    """
    active, count = int(fires.sum()), int(known.sum())
    hits = found.matrix.T @ fires.astype(np.float32)
    carrying = found.matrix.T @ known.astype(np.float32)
    able = np.flatnonzero((hits >= MIN_HITS) & stands_out(hits / max(1, active), carrying / max(1, count)))
    f1 = 2 * hits[able] / (carrying[able] + active)
    able = able[np.argsort(-f1, kind="stable")[:POOL]]
    p = stats.hypergeom.sf(hits[able] - 1, count, carrying[able], active)
    able = able[p * len(found.wordings) <= LEVEL]
    said = found.matrix[:, able].toarray().astype(bool)
    return able[best_together(said & known[:, None], fires, MOST, GAIN)].tolist()
