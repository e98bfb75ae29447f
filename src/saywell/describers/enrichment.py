"""Descriptors that a unit's exemplars carry more often than chance, the most lifted first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saywell.data.examples import Kind
from saywell.describers.associations import associations_of
from saywell.describers.describer import Evidence
from saywell.describers.naming import best_of, describe_by_descriptors, no_such
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class Enrichment:
    """Names up to five enriched descriptors (see `Associations.enriched`)."""

    name: str = "enrichment"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """The false discovery rate is held over all descriptors of all these units together."""
        found = associations_of(evidence.exemplars, evidence.ids, evidence.examples)
        named = best_of(found.enriched(), found.lift)
        why = "no descriptor is enriched among its exemplars"
        return describe_by_descriptors(evidence, named, no_such(evidence, why))
