"""Columns of the examples' table as units: numbers, yes and no, names, lists of names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import UPPER_HALF, Firing
from saywell.units.matrix import check_numbers
from saywell.units.responses import InMemory, Responses, order_of
from saywell.units.source import Shuffled
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources

MOST_VALUES = 1000


@dataclass(frozen=True)
class Columns:
    """A unit for each numeric column, going high and going low, and for each value of any other.

    `columns` are those of `Examples.table`; `values` has of each unit the column and, where it stands for
    one value of it, that value.
    """

    values: tuple[tuple[str, str | None], ...]
    firing: Firing = UPPER_HALF
    kind: str = "column"

    @staticmethod
    def of(examples: Examples, columns: Sequence[str], firing: Firing | None = None) -> Columns:
        """The units of some columns of these examples.

        Raises InputError for a column that there is not, that has no value or one only, or that is free text,
        and for two units of one name.
        """
        found = [unit for column in columns for unit in _units_of(examples.table, column)]
        made = Columns(tuple(dict.fromkeys(found)), firing or UPPER_HALF)
        names = made.units()["id"]
        twice = names.filter(names.is_duplicated())
        if len(twice):
            raise InputError(f"two units of {made.name} would be called {twice[0]!r}; rename a column")
        return made

    @property
    def name(self) -> str:
        """The columns."""
        return ", ".join(dict.fromkeys(column for column, _ in self.values))

    @property
    def fingerprint(self) -> str:
        """Of which units there are; what the columns hold is part of the examples."""
        return combined(*(f"{column} {value!r}" for column, value in self.values))

    def units(self) -> pl.DataFrame:
        """Called by column, or by column and value; `stars-` is the column `stars` going low."""
        names = [column if value is None else f"{column}={value}" for column, value in self.values]
        numbers = pl.Series([value is None for _, value in self.values], dtype=pl.Boolean)
        high = source_units(names, self.kind).with_columns(
            sign=pl.when(numbers).then(pl.lit(1, dtype=pl.Int8))
        )
        low = high.filter(numbers).with_columns(id=pl.col("id") + "-", sign=pl.lit(-1, dtype=pl.Int8))
        return pl.concat([high, low])

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """The columns themselves; where one is empty, nothing is known of its units."""
        table = examples.table
        found = [_numbers(table[column], value) for column, value in self.values]
        values = np.stack(found, axis=1) if found else np.empty((len(examples), 0))
        check_numbers(values, [f"column {column!r}" for column, _ in self.values])
        return InMemory(values.astype(np.float32), order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> Shuffled:
        """The same rows, each with another example of its part."""
        return Shuffled(self, seed)

    def locate(self, examples: Examples) -> Locate:
        """A column is of the whole example."""
        return nowhere


def _units_of(table: pl.DataFrame, column: str) -> list[tuple[str, str | None]]:
    if column not in table.columns:
        raise InputError(f"the examples have no column {column!r}; they have {', '.join(table.columns)}")
    told = table[column].drop_nulls()
    flat = told.explode().drop_nulls() if isinstance(told.dtype, pl.List) else told
    several = flat.n_unique() > 1 or (isinstance(told.dtype, pl.List) and len(flat))
    if not several:
        only = f"only the value {flat[0]!r}" if len(flat) else "no value"
        raise InputError(
            f"column {column!r} has {only} in the {table.height:,} rows that are used, so there is nothing"
            " to describe"
        )
    if flat.dtype.is_numeric() and not isinstance(told.dtype, pl.List):
        return [(column, None)]
    if flat.dtype == pl.Boolean:
        return [(column, "true")]
    if not isinstance(flat.dtype, pl.String | pl.Categorical | pl.Enum):
        raise InputError(
            f"column {column!r} is {table.schema[column]}; units are made of numbers and of names"
        )
    names = flat.cast(pl.String).unique().sort().to_list()
    if len(names) > MOST_VALUES:
        raise InputError(
            f"column {column!r} has {len(names):,} different values, such as {names[0][:60]!r}; a unit for"
            f" each is made of up to {MOST_VALUES:,}"
        )
    if len(names) == len(flat):
        raise InputError(
            f"column {column!r} has another value in each of {len(names):,} examples, such as"
            f" {names[0][:60]!r}; units are made of names that several share"
        )
    return [(column, name) for name in names]


def _numbers(column: pl.Series, value: str | None) -> np.ndarray:
    if value is None:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if column.dtype == pl.Boolean:
        said = column
    elif isinstance(column.dtype, pl.List):
        said = column.cast(pl.List(pl.String)).list.contains(value)
    else:
        said = column.cast(pl.String) == value
    return said.cast(pl.Float64).fill_null(np.nan).to_numpy()
