"""Responses that somebody brings as numbers: examples x units, in any of the formats people use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.examples import Examples
from saywell.data.names import read_names
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.files import read_parquet, storing
from saywell.units.arrays import read_tensors, reading, real_numbers
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import EITHER, STRONGEST, YES, Above, Firing, extremes, yes_and_no
from saywell.units.responses import InMemory, Responses, Sparse, order_of
from saywell.units.source import Shuffled
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources

FORMATS = ".npy, .safetensors, .npz (a sparse matrix of SciPy), .parquet"
_LONG = {"unit", "example", "value"}
_IDS = ("example", "id", "row")
"""Columns of a table that say which example a row is of."""


@dataclass(frozen=True)
class Matrix:
    """Numbers of a user's, rows x units; NaN where nothing is known.

    `keys` says which example each row is of: ids of the examples (strings), or rows of their source
    (integers). None: one row for every row of the source, in its order.
    """

    values: np.ndarray | sp.csr_matrix
    names: tuple[str, ...]
    name: str = "matrix"
    keys: tuple[str, ...] | tuple[int, ...] | None = None
    absent: float | None = None
    """What every unit responds to an example without a row; None: each has to have one."""
    firing: Firing = STRONGEST
    kind: str = "unit"

    @property
    def fingerprint(self) -> str:
        """Of the numbers and the names."""
        matrix: Any = self.values
        arrays = (matrix.data, matrix.indices, matrix.indptr) if sp.issparse(matrix) else (matrix,)
        data = [np.ascontiguousarray(array).tobytes() for array in arrays]
        return combined(*data, *self.names, *map(str, self.keys or ()), str(self.shape))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and units."""
        rows, units = self.values.shape  # type: ignore[misc]
        return rows, units

    def units(self) -> pl.DataFrame:
        """One for each column, called as it is."""
        return source_units(self.names, self.kind)

    def prepare(self, examples: Examples) -> Examples:
        """The examples as they are. Raises InputError where the rows are not theirs."""
        self._rows(examples)
        return examples

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """The rows of these examples.

        Raises InputError where the rows are not those of the examples, and for numbers that are infinite
        or that float32 cannot tell apart.
        """
        rows, order = self._rows(examples), order_of(examples.ids)
        if sp.issparse(self.values):
            nothing = np.full((1, self.shape[1]), self.absent or 0.0)
            matrix = sp.csr_matrix(sp.vstack([self.values, sp.csr_matrix(nothing)], format="csr"))[rows]
            check_numbers(matrix.data[:, None], [f"{self.name} (all units)"])
            return Sparse.of(matrix, order).save(folder)
        values = np.asarray(self.values)[rows]  # -1, no row, is mended next
        values[rows < 0] = np.nan if self.absent is None else self.absent
        check_numbers(values, self.names)
        return InMemory(values.astype(np.float32), order).save(folder)

    def control(self, seed: int) -> Shuffled:
        """The same rows, each with another example of its part."""
        return Shuffled(self, seed)

    def locate(self, examples: Examples) -> Locate:
        """A number is of the whole example."""
        return nowhere

    def _rows(self, examples: Examples) -> np.ndarray:
        """For every example its row here; -1 where it has none and need not have."""
        if self.keys is None:
            have = self.shape[0]
            if have != examples.total_rows:
                raise InputError(
                    f"{self.name} has {have:,} rows, and the examples were read from"
                    f" {examples.total_rows:,} (of which {len(examples):,} are used): give one row for"
                    " every row of their file, in its order, or a table with a column `example` of ids"
                )
            return examples.table["row"].to_numpy()
        by_row = isinstance(self.keys[0], int) if self.keys else True
        self._refuse_strangers(examples, by_row)
        wanted = examples.table["row"].to_list() if by_row else examples.ids
        place = {key: number for number, key in enumerate(self.keys)}
        lacking = [key for key in wanted if key not in place]
        if len(lacking) > (0 if self.absent is None else len(wanted) - 1):
            shown = "none" if not self.keys else repr(self.keys[0])
            raise InputError(
                f"{self.name} has no row for {len(lacking):,} of the {len(wanted):,} examples, the first"
                f" {lacking[0]!r}; it has {len(self.keys):,}, the first {shown}; give the ids of table"
                " `examples` of a study (or the numbers of the rows of their file, from 0)"
            )
        return np.array([place.get(key, -1) for key in wanted], dtype=np.int64)

    def _refuse_strangers(self, examples: Examples, by_row: bool) -> None:
        """Rows that there are not; and, where nobody would miss one, ids that are no example's.

        As many ids may be of others as were left out by a limit, of which nobody knows the ids.
        """
        keys, told = self.keys or (), "ids of table `examples` of a study"
        if by_row:
            strange = [key for key in keys if not 0 <= int(key) < examples.total_rows]
            allowed, told = 0, f"rows of their file, from 0 to {examples.total_rows - 1:,}"
        else:
            known = set(examples.ids)
            strange = [key for key in keys if key not in known]
            allowed = examples.total_rows - len(examples) - examples.rejected.height
        if len(strange) > allowed and (by_row or self.absent is not None):
            raise InputError(
                f"{self.name} has {len(keys):,} examples, of which {len(strange):,} are none of these"
                f" {len(examples):,}, the first {strange[0]!r}; give {told}"
            )


def load_matrix(
    source: Any,
    *,
    names: Sequence[str] | str | Path | None = None,
    firing: Firing | None = None,
    absent: float = 0.0,
) -> Matrix:
    """Responses from a file, an array, a sparse matrix or a table.

    A table is dense (a column for each unit, and `example`, `id` or `row` to say which example a row
    is of), or long (unit, example, value); what a long table does not hold is `absent`: 0, or NaN where
    nothing is known of it. `names` are those of the units, in order, or a file of them (one a line, or a
    JSON list). Fires above 0 where the numbers are sparse; else units of 0 and 1 fire on the ones, others
    on the top 5 %.

    Raises InputError for what is no matrix of numbers, and for names that are not one for each unit.
    """
    # A file by its own name: by another path to it the study is the same.
    called = Path(source).name if isinstance(source, str | Path) else f"the {type(source).__name__}"
    content = _read(Path(source)) if isinstance(source, str | Path) else source
    if isinstance(content, pl.DataFrame):
        found = _from_table(content, called, absent)
    elif sp.issparse(content):
        found = Matrix(_sparse(content, called), (), called)
    else:
        found = Matrix(_numbers(content, called), (), called)
    width = found.shape[1]
    given = found.names or tuple(f"unit/{number}" for number in range(width))
    if names is not None:
        given = tuple(read_names(names))
    if len(given) != width:
        raise InputError(f"{called} has {width:,} units, and there are {len(given):,} names for them")
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise InputError(f"two units of {called} are called {twice!r}; give each a name of its own")
    rule = firing or _usual(found.values)
    return replace(found, names=given, firing=rule)


def _usual(values: Any) -> Firing:
    """When units fire if nobody says so."""
    if sp.issparse(values):
        return Above(0.0)
    yes = yes_and_no(values)
    telling = yes & (values == 0).any(0) & (values == 1).any(0)
    return YES if yes.all() else EITHER if telling.any() else STRONGEST


def check_numbers(values: np.ndarray, names: Sequence[str]) -> None:
    """Refuse columns with infinite numbers, or whose differences float32 cannot hold.

    Raises InputError that names the column.
    """
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    bad = np.isinf(single)
    if bad.any():
        row, column = (int(where[0]) for where in np.nonzero(bad))
        raise InputError(
            f"{names[column]} is {float(values[row, column])!r} on row {row}, which float32 cannot hold; give"
            " finite numbers, and NaN where nothing is known"
        )
    if values.dtype == np.float32 or not values.size:
        return
    lost = np.abs(values.astype(np.float64) - single)
    known = ~np.isnan(lost)
    worst = np.where(known, lost, 0).max(0)
    whole = np.where(known, values, 0).astype(np.float64)
    count = np.maximum(known.sum(0), 1)
    spread = np.sqrt(np.where(known, (whole - whole.sum(0) / count) ** 2, 0).sum(0) / count)
    low, high = extremes(values)
    blurred = np.flatnonzero((worst > 1e-3 * spread) & (high > low))  # one value throughout loses nothing
    if len(blurred):
        raise InputError(
            f"the numbers of {names[blurred[0]]} differ by less than float32 can hold beside their size;"
            " subtract their mean"
        )


def _read(path: Path) -> Any:
    with storing(path):
        if not path.is_file():
            raise InputError(f"there is no file {str(path)!r} with activations")
    with reading(path):
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        if path.suffix == ".npz":
            with path.open("rb") as file:
                return _sparse(sp.load_npz(file), path.name)
        if path.suffix == ".parquet":
            return read_parquet(path)
        if path.suffix == ".safetensors":
            return _tensor(read_tensors(path), path)
    raise InputError(f"activations are read from {FORMATS}, not from {str(path)!r}")


def _tensor(arrays: dict[str, np.ndarray], path: Path) -> Any:
    if {"data", "indices", "indptr", "shape"} <= arrays.keys():
        places = [arrays[name] for name in ("indices", "indptr", "shape")]
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in places) or len(places[2]) != 2:
            raise InputError(f"indices, indptr and shape of {str(path)!r} are to be lists of whole numbers")
        rows, columns = map(int, places[2])
        return _sparse(sp.csr_matrix((arrays["data"], *places[:2]), shape=(rows, columns)), path.name)
    fit = [name for name, array in arrays.items() if array.ndim == 2]
    if len(fit) != 1:
        raise InputError(
            f"{str(path)!r} has {len(fit)} arrays of two axes ({', '.join(sorted(arrays)[:6])}); leave one,"
            " rows x units"
        )
    return arrays[fit[0]]


def _sparse(content: Any, called: str) -> sp.csr_matrix:
    """Compressed rows of real numbers. Raises InputError where the parts of a matrix do not fit together."""
    if content.dtype.kind not in "fiub":
        real_numbers(np.empty(0, content.dtype), called)
    try:
        if hasattr(content, "check_format"):
            content.check_format(full_check=True)
        return sp.csr_matrix(content)
    except (ValueError, IndexError) as error:
        raise InputError(f"{called} is no sparse matrix: {error}") from error


def _numbers(content: Any, called: str) -> np.ndarray:
    values = real_numbers(content, called)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"{called} is no matrix of numbers, rows x units, but of shape {values.shape}")
    return values


def _from_table(table: pl.DataFrame, called: str, absent: float) -> Matrix:
    if set(table.columns) == _LONG:
        return _from_long(table, called, absent)
    keys = [name for name in _IDS if name in table.columns]
    if len(keys) > 1:
        raise InputError(f"{called} has the columns {' and '.join(keys)}: leave one that says whose a row is")
    keyed = keys[0] if keys else None
    rest = table.drop(keyed) if keyed else table
    fits = " a table has a column of numbers a unit, and `example` with ids of examples, or the columns"
    for column, dtype in rest.schema.items():
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise InputError(f"column {column!r} of {called} is {dtype};{fits} unit, example, value")
    if not rest.width:
        raise InputError(f"{called} has no unit;{fits} unit, example, value")
    values = rest.select(pl.all().cast(pl.Float64).fill_null(np.nan)).to_numpy()
    if keyed is None:
        return Matrix(values, tuple(rest.columns), called)
    whose = _keys(table[keyed], called)
    if len(set(whose)) < len(whose):
        twice = table[keyed].filter(table[keyed].is_duplicated())[0]
        raise InputError(f"{called} has more than one row for the example {twice!r}")
    return Matrix(values, tuple(rest.columns), called, whose)


def _from_long(table: pl.DataFrame, called: str, absent: float) -> Matrix:
    if not table["value"].dtype.is_numeric():
        raise InputError(f"column 'value' of {called} is {table.schema['value']}; give numbers")
    if table["unit"].dtype.is_nested():
        raise InputError(f"column 'unit' of {called} is {table.schema['unit']}; give one name a row")
    if table["example"].dtype.is_nested():
        raise _no_key(table["example"], called)
    if table.select("unit", "example").null_count().sum_horizontal()[0]:
        raise InputError(f"{called} has rows without a unit or an example")
    again = table.select("unit", "example").is_duplicated()
    if again.any():
        unit, example = table.filter(again).select("unit", "example").row(0)
        raise InputError(f"{called} has more than one value of unit {unit!r} for the example {example!r}")
    units = table["unit"].unique().sort()
    names = tuple(map(str, units.to_list()))
    column = table["unit"].replace_strict(units, range(len(units)), return_dtype=pl.Int64).to_numpy()
    examples = table["example"].unique().sort()
    row = table["example"].replace_strict(examples, range(len(examples)), return_dtype=pl.Int64).to_numpy()
    values = table["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    shape, keys = (len(examples), len(units)), _keys(examples, called)
    if absent == 0:
        return Matrix(sp.csr_matrix((values, (row, column)), shape=shape), names, called, keys, absent)
    dense = np.full(shape, absent)
    dense[row, column] = values
    return Matrix(dense, names, called, keys, absent)


def _keys(column: pl.Series, called: str) -> tuple[str, ...] | tuple[int, ...]:
    if column.null_count() or not (column.dtype.is_integer() or column.dtype == pl.String):
        raise _no_key(column, called)
    return tuple(column.to_list())


def _no_key(column: pl.Series, called: str) -> InputError:
    return InputError(
        f"column {column.name!r} of {called} is to say which example each row is of: an id, or the number"
        f" of a row, not {'nothing' if column.null_count() else column.dtype}"
    )
