"""Units that fire where a column of the examples says so, whatever their numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Bool

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.exemplars import Locate
from saywell.units.firing import GIVEN, Firing, Given, firing_rule, is_rule
from saywell.units.responses import Responses
from saywell.units.source import ActivationSource, Shuffled, exchanged

if TYPE_CHECKING:
    from saywell.resources import Resources


def yes_in(examples: Examples, column: str) -> Bool[np.ndarray, " examples"]:
    """Which examples a column of theirs says yes of. Raises InputError where it is not yes and no."""
    if column not in examples.table.columns:
        raise InputError(f"the examples have no column {column!r} that says where units fire")
    if column == GIVEN:  # in a study, which units are planted ones
        raise InputError(f"a column called {column!r} cannot say where units fire; rename it")
    values = examples.table[column].to_list()
    wrong = [value for value in values if value not in (0, 1)]
    if wrong:
        raise InputError(
            f"column {column!r} is to say of each example whether units fire, by 1 and 0 or true"
            f" and false, not {str(wrong[0])[:80]!r}"
        )
    return np.array(values, dtype=bool)


def stored_firing(text: str, examples: Examples, units: int) -> Firing:
    """The rule of that name, or, of so many units, the one of a column of that name."""
    return firing_rule(text) if is_rule(text) else _alike(yes_in(examples, text), units, text)


def _alike(fires: Bool[np.ndarray, " examples"], units: int, column: str) -> Given:
    return Given(np.broadcast_to(fires, (units, len(fires))), column)


@dataclass(frozen=True)
class Marked:
    """Units of a source that all fire where a column of these examples says yes."""

    of: ActivationSource
    examples: Examples
    column: str
    seed: int | None = None
    """Of a control: a unit fires where the example does that this one is exchanged with."""

    @property
    def kind(self) -> str:
        """As of the source."""
        return self.of.kind

    @property
    def name(self) -> str:
        """As of the source."""
        return self.of.name

    @property
    def fingerprint(self) -> str:
        """Of the source and the column."""
        return combined(self.of.fingerprint, self.column)

    @property
    def firing(self) -> Given:
        """The same for all units. Raises InputError where the column is not yes and no."""
        fires = yes_in(self.examples, self.column)
        if self.seed is not None:
            fires = fires[exchanged(self.examples, self.seed)]
        return _alike(fires, self.of.units().height, self.column)

    def units(self) -> pl.DataFrame:
        """As of the source."""
        return self.of.units()

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """As of the source."""
        return self.of.collect(examples, folder, resources)

    def control(self, seed: int) -> Marked:
        """Responses and firing of another example."""
        return Marked(Shuffled(self.of, seed), self.examples, self.column, seed)

    def locate(self, examples: Examples) -> Locate:
        """As of the source."""
        return self.of.locate(examples)
