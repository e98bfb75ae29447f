"""Descriptors that a good part of a unit's exemplars carry: the rule of Mondal et al. 2024."""

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
class Composition:
    """Names up to five descriptors that the share `threshold` (0 to 1) of the exemplars carries."""

    threshold: float = 0.5
    name: str = "composition"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Those that most exemplars carry come first."""
        found = associations_of(evidence.exemplars, evidence.ids, evidence.examples)
        named = best_of(found.composed(self.threshold), found.composition)
        why = f"no descriptor is carried by {self.threshold:.0%} of its exemplars"
        return describe_by_descriptors(evidence, named, no_such(evidence, why))
