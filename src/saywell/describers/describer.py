"""What a describer is given, what it gives, and what it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from saywell.data.examples import Examples
from saywell.description import Description
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter
    from saywell.units.activations import Activations


@dataclass(frozen=True)
class Evidence:
    """All that a describer may see: describe examples only, so that nothing can leak.

    Rows are numbered within `examples`. `exemplars` (unit, rank, example, activation, span or region)
    has the strongest examples on which each unit fires, `contrasts` some on which it does not.
    """

    units: pl.DataFrame
    examples: Examples
    activations: Activations
    exemplars: pl.DataFrame
    contrasts: pl.DataFrame
    seed: int


class Describer(Protocol):
    """Who writes. `version` changes whenever the same evidence would give another text."""

    name: str
    version: int
    tables: Sequence[Table]
    """What it leaves in the study beside descriptions."""

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """One for each of `evidence.units`, in their order."""
        ...


class Tagger(Protocol):
    """Who finds descriptors in the examples and says of each example which it carries."""

    name: str
    tables: Sequence[Table]

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with their tags. Descriptors come from describe examples alone."""
        ...
