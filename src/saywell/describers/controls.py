"""Describers that know nothing, beside which the others stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saywell.data.examples import Kind
from saywell.describers.describer import Evidence
from saywell.describers.extractive import MIN_HITS
from saywell.describers.naming import tags_of
from saywell.describers.phrases import PhraseCounts
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class RandomPhrase:
    """Any phrase of the texts, or any descriptor of the pictures, for every unit."""

    name: str = "random-phrase"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """The evidence's seed decides."""
        if evidence.examples.kind == "image":
            phrases = list(tags_of(evidence).texts)
        else:
            phrases = PhraseCounts(evidence.examples.texts, min_sentences=MIN_HITS).wordings
        if not phrases:
            return [Description(unit, "", "no description: there is no phrase") for unit in evidence.ids]
        drawn = np.random.default_rng(evidence.seed).integers(len(phrases), size=len(evidence.ids))
        return [
            Description(unit, phrases[number], parts=(phrases[number],))
            for unit, number in zip(evidence.ids, drawn.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class NoDescription:
    """Says nothing of any unit."""

    name: str = "none"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Nothing."""
        return [Description(unit, "", "no description: none was asked for") for unit in evidence.ids]
