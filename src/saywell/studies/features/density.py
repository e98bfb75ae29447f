"""How often each unit fires, of all tokens (or patches) there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import RESPONSES, Run
from saywell.units.statistics import UNITS
from saywell.units.token_activations import TokenActivations

DENSITY = Table("density", {"unit": pl.String, "density": pl.Float64}, key=("unit",))
"""The share of all tokens of the examples, or of all patches, at which a unit has an activation. No rows
where units respond to whole examples."""


@dataclass(frozen=True)
class Densities:
    """Table `density`."""

    tables: Sequence[Table] = (DENSITY,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(DENSITY, lambda: density_table(run), uses=(RESPONSES, UNITS.name))
        return []

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored."""
        return [density_table(run)], []


def density_table(run: Run) -> pl.DataFrame:
    """Table `density`."""
    units, responses = run.subject.activations.units, run.subject.activations.responses
    if not isinstance(responses, TokenActivations):
        return DENSITY.empty()
    shares = responses.density()[units["place"].to_numpy()]
    return units.select(unit="id").with_columns(density=pl.Series(shares, dtype=pl.Float64))
