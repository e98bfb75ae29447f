"""The classes of labelled examples as units: a unit responds with 1 to the examples of its class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import YES, Firing
from saywell.units.responses import Responses, Sparse, order_of
from saywell.units.source import Shuffled
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class Labels:
    """Column `label` of the examples; a unit's id is the name of its class.

    An example without a label says nothing of any class. All examples of a class are equally strong, so
    its exemplars are drawn by hash of content.
    """

    classes: tuple[str, ...]
    column: str = "label"
    kind: str = "class"
    firing: Firing = YES

    @staticmethod
    def of(examples: Examples, column: str = "label") -> Labels:
        """The classes that these examples have, in the order of the alphabet.

        Raises InputError where they have no labels.
        """
        if column not in examples.table.columns or not examples.table[column].drop_nulls().len():
            raise InputError(f"these examples have no column {column!r}, so there are no classes to describe")
        return Labels(tuple(examples.table[column].drop_nulls().unique().sort().to_list()), column)

    @property
    def name(self) -> str:
        """The column."""
        return self.column

    @property
    def fingerprint(self) -> str:
        """Of the names of the classes; the labels are part of the examples."""
        return combined(self.column, *self.classes)

    def units(self) -> pl.DataFrame:
        """One for each class."""
        return source_units(self.classes, self.kind)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """1 for the examples of the class, 0 for the others."""
        place = {name: number for number, name in enumerate(self.classes)}
        labels = examples.table[self.column].to_list()
        if unknown := {label for label in labels if label is not None} - set(place):
            raise InputError(
                f"{min(unknown)!r} is none of the classes; they are {', '.join(self.classes[:8])}"
            )
        told = np.array([label is not None for label in labels])
        rows = np.flatnonzero(told)
        columns = np.array([place[labels[row]] for row in rows], dtype=np.int64)
        lost, width = np.flatnonzero(~told), len(self.classes)
        values = np.concatenate([np.ones(len(rows)), np.full(len(lost) * width, np.nan)])
        cells = (
            np.concatenate([rows, np.repeat(lost, width)]),
            np.concatenate([columns, np.tile(np.arange(width), len(lost))]),
        )
        matrix = sp.coo_matrix((values, cells), shape=(len(examples), width))
        return Sparse.of(matrix, order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> Shuffled:
        """Labels exchanged within each part."""
        return Shuffled(self, seed)

    def locate(self, examples: Examples) -> Locate:
        """A label is of the whole example."""
        return nowhere
