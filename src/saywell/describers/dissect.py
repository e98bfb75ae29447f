"""The phrase that is nearest to what a unit responds to, by an encoder that reads and sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saywell.data.examples import Kind
from saywell.describers.describer import Evidence
from saywell.describers.descriptors.nearness import cosines, least_spread
from saywell.describers.naming import describe_by_descriptors, tags_of
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class Dissect:
    """Names the one descriptor, or so many, nearer to the exemplars than to what leaves the unit cold.

    Of the differences of mean nearness the largest. It always names some: whether that is true is left
    to the scores. Like CLIP-Dissect (Oikarinen and Weng 2023) in what it looks at, not in its measure
    of similarity.
    """

    name: str = "dissect"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()
    most: int = 1
    """Descriptors that it names."""

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Silence only of units without exemplars, and of those that nothing leaves cold."""
        phrases, examples = tags_of(evidence).texts, evidence.examples
        named: list[list[int]] = [[] for _ in evidence.ids]
        if phrases:
            vectors = resources.vectors(examples).astype(np.float64)
            said = resources.encode(examples, phrases)
            spread = np.concatenate([least_spread(found) for _, found in cosines(vectors, said)])
            for units, silent in evidence.cold(np.arange(len(examples))):
                exemplars = np.zeros_like(silent)
                for row, unit in enumerate(units):
                    exemplars[row, evidence.places[unit]] = True
                gains = (_means(exemplars, vectors) - _means(silent, vectors)) @ said.T / spread
                for unit, gain in zip(units, gains, strict=True):
                    if np.isfinite(gain).all():
                        named[unit] = np.argsort(-gain, kind="stable")[: self.most].tolist()
        return describe_by_descriptors(evidence, named, lambda unit: "nothing leaves it cold")


def _means(
    chosen: Bool[np.ndarray, "units examples"], vectors: Float[np.ndarray, "examples dim"]
) -> Float[np.ndarray, "units dim"]:
    """Mean vectors, NaN where none was chosen. Nearness is linear, so the mean's is the mean of theirs."""
    with np.errstate(invalid="ignore"):
        return (chosen @ vectors) / chosen.sum(1, keepdims=True)
