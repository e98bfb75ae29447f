"""Descriptors that a unit's exemplars carry more often than chance: those that tell best where it fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saywell.data.examples import Kind
from saywell.describers.associations import associations_of
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_NAMED, describe_by_descriptors, no_such, tags_of
from saywell.describers.unions import best_together, firing
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class Enrichment:
    """Names up to five enriched descriptors (see `Associations.enriched` and `best_together`)."""

    name: str = "enrichment"
    version: int = 2
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """The false discovery rate is held over all descriptors of all these units together."""
        found = associations_of(evidence.exemplars, evidence.ids, evidence.examples)
        tags = tags_of(evidence)
        rows = np.flatnonzero(tags.known)
        holds = tags.matrix[rows].tocsc()
        named = []
        for enriched, (fires, known) in zip(found.enriched(), firing(evidence, rows), strict=True):
            able = np.flatnonzero(enriched)
            carried = holds[:, able].toarray().astype(bool)
            named.append(able[best_together(carried & known[:, None], fires, MOST_NAMED)].tolist())
        why = "no descriptor is enriched among its exemplars"
        return describe_by_descriptors(evidence, named, no_such(evidence, why))
