"""What is known of every unit after its responses are collected: level, spread, when it fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.parts import DescribeRows
from saywell.store.table import Table
from saywell.units.firing import Above, Firing, Fitted, Given, column_of, extremes, extremes_of, known_in
from saywell.units.responses import Responses, SparseResponses

BINS = 24
"""Steps of a unit's histogram."""
UNITS = Table(
    "units",
    {
        "id": pl.String,
        "kind": pl.String,
        "model": pl.String,
        "module": pl.String,
        "layer": pl.Int32,
        "index": pl.Int32,
        "sign": pl.Int8,
        "place": pl.Int32,
        "name": pl.String,
        "mean": pl.Float64,
        "std": pl.Float64,
        "minimum": pl.Float64,
        "maximum": pl.Float64,
        "threshold": pl.Float64,
        "fires": pl.Float64,
        "state": pl.String,
        "histogram": pl.List(pl.Int32),
    },
    key=("id",),
    optional=frozenset({"module", "place"}),
    version=2,
)
"""What is described. `sign` 1: going high, -1: going low; `place`: its column in the stored responses;
statistics as `unit_table` has them."""
_CELLS = 1 << 23
SOURCE = tuple(UNITS.columns)[:9]
"""What a source says of each of its units."""
_STATISTICS = ("mean", "std", "minimum", "maximum", "threshold", "fires", "state", "histogram")


def source_units(
    ids: Sequence[str], kind: str, names: Sequence[str] | None = None, model: str | None = None
) -> pl.DataFrame:
    """Units of a source without layers or sides, each at the place of its number."""
    numbers = pl.Series(range(len(ids)), dtype=pl.Int32)
    return pl.DataFrame(
        {
            "id": pl.Series(ids, dtype=pl.String),
            "kind": pl.Series([kind] * len(ids), dtype=pl.String),
            "model": pl.Series([model] * len(ids), dtype=pl.String),
            "module": pl.Series([None] * len(ids), dtype=pl.String),
            "layer": pl.Series([None] * len(ids), dtype=pl.Int32),
            "index": numbers,
            "sign": pl.Series([None] * len(ids), dtype=pl.Int8),
            "place": numbers,
            "name": pl.Series(ids if names is None else names, dtype=pl.String),
        }
    )


def declared(units: pl.DataFrame) -> Table:
    """Table `units` with the columns of a source's own."""
    own = {name: dtype for name, dtype in units.schema.items() if name not in UNITS.columns}
    return replace(UNITS, columns={**UNITS.columns, **own}) if own else UNITS


def unit_table(
    units: pl.DataFrame, responses: Responses, firing: Firing, describe: DescribeRows
) -> pl.DataFrame:
    """Table `units`: what the source says of each, and its statistics on the describe examples.

    mean, std, minimum, maximum and histogram (BINS equal steps from minimum to maximum) are of the
    known values, signed so that more is stronger; NaN where none is known. threshold, fires (the share
    of the known on which it fires) and state are those of the firing rule.
    """
    rows = np.concatenate([*responses.pieces(describe.rows), describe.rows[:0]])
    sign = units["sign"].fill_null(1).to_numpy()
    place = units["place"].to_numpy().astype(np.int64)
    # Units side by side in what is stored are read together.
    order = np.lexsort((place, -sign))
    width = max(1, _CELLS // max(1, len(rows)))
    found: list[dict[str, np.ndarray]] = []
    for side in np.split(order, np.flatnonzero(np.diff(sign[order])) + 1):
        if isinstance(responses, SparseResponses) and isinstance(firing, Above) and firing.value >= 0:
            cuts = np.cumsum([len(some) for some in responses.blocks_of(place[side])])
            for block in np.split(side, cuts[:-1]):
                found.append(_of_few(responses.columns(rows, place[block], int(sign[block[0]])), firing))
            continue
        for start in range(0, len(side), width):
            block = side[start : start + width]
            values = responses.read(rows, place[block], int(sign[block[0]]))
            found.append(_of(values, firing, rows, place[block]))
    back = np.argsort(order)
    columns = {
        name: np.concatenate([block[name] for block in found])[back] if found else np.empty(0)
        for name in _STATISTICS
    }
    types = dict.fromkeys(_STATISTICS, pl.Float64) | {"histogram": pl.List(pl.Int32), "state": pl.String}
    statistics = [pl.Series(name, values.tolist(), dtype=types[name]) for name, values in columns.items()]
    said = [name for name in SOURCE if name in units.columns]
    own = [name for name in units.columns if name not in (*SOURCE, *_STATISTICS)]
    return pl.DataFrame([*units.select(said), *statistics, *units.select(own)])


def with_places(units: pl.DataFrame) -> pl.DataFrame:
    """A table of all units of a model with their places, for studies that were made without."""
    if "place" in units.columns:
        return units
    place = pl.struct("layer", "index").rank("ordinal").over("sign") - 1
    return units.with_columns(place=place.cast(pl.Int32))


def _of(values: np.ndarray, firing: Firing, rows: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(firing, Given):
        fitted = firing.fit(values, firing.of(places, rows).T)
    else:
        fitted = firing.fit(values)
    extreme = extremes(values)
    return _columns(fitted, _moments(values), extreme, _histograms(values, *extreme))


def _of_few(values: sp.csc_matrix, firing: Above) -> dict[str, np.ndarray]:
    """The same of values that are 0 where none is stored."""
    known, own = known_in(values), column_of(values)
    low, high = extremes_of(values)
    there = ~np.isnan(values.data)
    own, told = own[there], values.data[there].astype(np.float64)
    resting = values.shape[0] - np.diff(values.indptr)
    count = np.where(known > 0, known, np.nan)
    mean = np.bincount(own, told, minlength=len(low)) / count
    away = np.bincount(own, (told - mean[own]) ** 2, minlength=len(low)) + resting * mean**2
    at = _step(values.data[there], low[own], high[own]) + BINS * own
    histogram = np.bincount(at, minlength=BINS * len(low)).reshape(-1, BINS)
    some = np.flatnonzero(resting)
    histogram[some, _step(np.zeros(len(some), dtype=np.float32), low[some], high[some])] += resting[some]
    return _columns(
        firing.fit_few(values), (mean, np.sqrt(away / count)), (low, high), histogram.astype(np.int32)
    )


def _columns(
    fitted: Fitted,
    moments: tuple[np.ndarray, np.ndarray],
    extreme: tuple[np.ndarray, np.ndarray],
    histogram: np.ndarray,
) -> dict[str, np.ndarray]:
    (mean, std), (low, high) = moments, extreme
    return {
        "mean": mean,
        "std": std,
        "minimum": low,
        "maximum": high,
        "threshold": fitted.thresholds,
        "fires": fitted.shares,
        "histogram": histogram,
        "state": fitted.states,
    }


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the known values of each column."""
    known = ~np.isnan(values)
    if known.all() and len(values):
        return values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    count = np.where(known.any(0), known.sum(0), np.nan)
    mean = np.where(known, values, 0).sum(0, dtype=np.float64) / count
    away = np.where(known, values - mean, 0)
    return mean, np.sqrt((away**2).sum(0, dtype=np.float64) / count)


def _histograms(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Columns x BINS: how many of a column's known values lie in each step from its lowest to its highest."""
    known = ~np.isnan(values)
    flat = _step(values, low, high) + BINS * np.arange(values.shape[1], dtype=np.int32)
    counts = np.bincount(flat[known], minlength=BINS * values.shape[1])
    return counts.reshape(-1, BINS).astype(np.int32)


def _step(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which step of a histogram a value lies in; the first, where it is not known."""
    scale = BINS / np.where(high > low, high - low, 1)
    steps = np.where(np.isnan(values), 0, values - low) * scale
    return np.clip(steps.astype(np.int32), 0, BINS - 1)
