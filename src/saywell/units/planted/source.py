"""Planted units as a source like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Bool

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import Given
from saywell.units.planted.rules import PlantedUnit
from saywell.units.responses import InMemory, Responses, order_of
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class Planted:
    """Units that `make` gives, over the examples of one study; made when they are first needed.

    A response of NaN means that the unit has nothing to do with that example.
    """

    make: Callable[[], Sequence[PlantedUnit]]
    name: str = "planted units"
    kind: str = "planted unit"

    @cached_property
    def planted(self) -> Sequence[PlantedUnit]:
        """All of them, with the truth about each."""
        return self.make()

    @property
    def fingerprint(self) -> str:
        """Of the units and their responses."""
        return combined(*(f"{unit.id}: {unit.response.tobytes().hex()}" for unit in self.planted))

    @property
    def firing(self) -> Given:
        """At or above each unit's own threshold, before responses are stored with fewer digits."""
        return Given(lambda: np.array([unit.fires for unit in self.planted]))

    def meant(self) -> Mapping[str, Bool[np.ndarray, " examples"]]:
        """By unit, where its rule holds."""
        return {unit.id: unit.rule for unit in self.planted}

    def units(self) -> pl.DataFrame:
        """One a rule, and those that follow none."""
        return source_units([unit.id for unit in self.planted], self.kind)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What each does on the examples."""
        values = np.array([unit.response for unit in self.planted], dtype=np.float32).T
        return InMemory(values, order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> None:
        """None: some of the units follow no rule."""

    def locate(self, examples: Examples) -> Locate:
        """The words that a rule is about, where it is about words."""
        if examples.kind != "text":
            return nowhere

        def spans(places: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
            found = [
                self.planted[place].span(examples.texts[row]) for place, row in zip(places, rows, strict=True)
            ]
            schema = {"span_start": pl.Int32, "span_end": pl.Int32}
            return pl.DataFrame(found, schema=schema, orient="row")

        return spans
