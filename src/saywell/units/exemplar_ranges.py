"""Examples over the whole range of a unit's activation, and near misses: examples on which it is silent.

What a unit does most strongly need not be what it does mostly. And a description that is true of examples
that are like its exemplars, or have the same token, and leave it silent, says too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int

from saywell.data.parts import DESCRIBE, Rows
from saywell.data.splits import hash_numbers
from saywell.store.table import Table
from saywell.units.activations import Activations
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import OK
from saywell.units.tokens import Tokens

_PLACE = {
    "span_start": pl.Int32,
    "span_end": pl.Int32,
    "region_left": pl.Float32,
    "region_top": pl.Float32,
    "region_right": pl.Float32,
    "region_bottom": pl.Float32,
}
RANGES = Table(
    "ranges",
    {
        "unit": pl.String,
        "part": pl.String,
        "bin": pl.Int32,
        "rank": pl.Int32,
        "low": pl.Float32,
        "high": pl.Float32,
        "example": pl.String,
        "activation": pl.Float32,
        **_PLACE,
    },
    key=("unit", "part", "bin", "rank"),
    optional=frozenset({"region_left", "region_top", "region_right", "region_bottom"}),
)
"""Examples drawn at random from every bin of the activations at which a unit fires, the lowest bin first.

`low` and `high` are of the bin on describe examples; those of other parts are sorted into the same bins, and
the first and the last are open there. Span and region as in `exemplars`."""
SAME_TOKEN, NEAREST = "same token", "nearest"
NEAR_MISSES = Table(
    "near_misses",
    {
        "unit": pl.String,
        "part": pl.String,
        "why": pl.String,
        "rank": pl.Int32,
        "example": pl.String,
        "nearness": pl.Float32,
        "span_start": pl.Int32,
        "span_end": pl.Int32,
    },
    key=("unit", "part", "why", "rank"),
)
"""Examples of a part on which a unit is known not to fire, though they are like its exemplars of that part.

`why` "same token": they have the token at which most of the strongest exemplars peak (the span); "nearest":
by the cosine (`nearness`) of the encoder's vector and the mean of those of the strongest exemplars."""
BINS, EACH = 5, 2
_BLOCK = 2048
_STRONGEST = 10
_CELLS = 1 << 22
_MOST_NEAR = 20_000
"""Examples of a part that are looked through for the nearest, drawn by hashes."""


@dataclass(frozen=True)
class Bins:
    """Bins of a unit's activations: with as many describe examples in each, or in steps to its maximum."""

    count: int = BINS
    each: int = EACH
    """Examples that are drawn from a bin."""
    by: Literal["quantile", "step"] = "quantile"


def range_table(
    activations: Activations,
    ids: Sequence[str],
    parts: Mapping[str, Rows],
    *,
    locate: Locate = nowhere,
    seed: int = 0,
    bins: Bins = Bins(),
) -> pl.DataFrame:
    """Table `ranges` of the units that are "ok"; `parts` by name, describe among them."""
    order = np.argsort(np.argsort(hash_numbers(ids, seed, "ranges"), kind="stable"))
    frames = []
    for units in _blocks(activations):
        numbers = activations.only(units).units
        place, sign = numbers["place"].to_numpy(), numbers["sign"].fill_null(1).to_numpy()
        describe = activations.peaks(units, parts[DESCRIBE].rows)
        edges = _edges(describe.places, describe.values, len(units), bins)
        for part, rows in parts.items():
            cells = describe if part == DESCRIBE else activations.peaks(units, rows.rows)
            step = (cells.values[:, None] >= edges[cells.places, 1:-1]).sum(1)
            example = rows.rows[cells.lines]
            group = cells.places * bins.count + step
            drawn, rank = first_of_each(group, order[example], bins.each)
            unit, step, example = cells.places[drawn], step[drawn], example[drawn]
            frame = pl.DataFrame(
                {
                    "unit": pl.Series(np.asarray(units, dtype=object)[unit], dtype=pl.String),
                    "part": pl.Series([part] * len(unit), dtype=pl.String),
                    "bin": pl.Series(step, dtype=pl.Int32),
                    "rank": pl.Series(rank, dtype=pl.Int32),
                    "low": pl.Series(edges[unit, step], dtype=pl.Float32),
                    "high": pl.Series(edges[unit, step + 1], dtype=pl.Float32),
                    "example": pl.Series(np.asarray(ids, dtype=object)[example], dtype=pl.String),
                    "activation": pl.Series(sign[unit] * cells.values[drawn], dtype=pl.Float32),
                }
            )
            frames.append(frame.hstack(locate(place[unit], example, cells.positions[drawn])))
    return pl.concat(frames) if frames else RANGES.empty()


def near_miss_table(
    activations: Activations,
    ids: Sequence[str],
    parts: Mapping[str, Rows],
    *,
    tokens: Tokens | None = None,
    vectors: Float[np.ndarray, "examples dim"] | None = None,
    seed: int = 0,
    most: int = 3,
) -> pl.DataFrame:
    """Table `near_misses` of the units that are "ok", at most `most` of a kind.

    `tokens` are the examples as the model read them; without, or where no position is known, there are none
    of the same token. Without `vectors` (of length 1) there are no nearest ones.
    """
    keys = hash_numbers(ids, seed, "near misses")
    order = np.argsort(np.argsort(keys, kind="stable"))
    frames = []
    for part, rows in parts.items():
        having = None if tokens is None else _Having(tokens, rows.rows, order)
        looked = np.argsort(keys[rows.rows], kind="stable")[:_MOST_NEAR]
        for units in _blocks(activations):
            own = activations.only(units)
            firing, unknown = own.cells(units, rows.rows)
            excluded = (firing + unknown).tocsr()
            values, examples, positions = (each.numpy() for each in own.strongest(rows, _STRONGEST))
            examples = np.where(own.fires_at(examples, values), examples, -1)
            found = []
            if having is not None:
                silent = _Silent(excluded.tocoo(), rows.rows, len(ids))
                found.append((SAME_TOKEN, *having.misses(examples, positions, silent, most)))
            if vectors is not None:
                mean = _mean(vectors, examples)
                unit, rank, at, near = _nearest(mean, vectors[rows.rows[looked]], excluded[looked].T, most)
                nowhere_ = np.full((len(unit), 2), -1)
                found.append((NEAREST, unit, rank, rows.rows[looked][at], near, nowhere_))
            for why, unit, rank, example, near, spans in found:
                told = pl.Series(spans[:, 1] >= 0)
                frame = pl.DataFrame(
                    {
                        "unit": pl.Series(np.asarray(units, dtype=object)[unit], dtype=pl.String),
                        "part": pl.Series([part] * len(unit), dtype=pl.String),
                        "why": pl.Series([why] * len(unit), dtype=pl.String),
                        "rank": pl.Series(rank, dtype=pl.Int32),
                        "example": pl.Series(np.asarray(ids, dtype=object)[example], dtype=pl.String),
                        "nearness": pl.Series(near, dtype=pl.Float32).fill_nan(None),
                        "span_start": pl.Series(spans[:, 0], dtype=pl.Int32),
                        "span_end": pl.Series(spans[:, 1], dtype=pl.Int32),
                    }
                )
                frames.append(frame.with_columns(pl.when(told).then(pl.col("span_start", "span_end"))))
    return pl.concat([NEAR_MISSES.empty(), *frames])


def first_of_each(
    groups: Int[np.ndarray, " items"], order: Int[np.ndarray, " items"], most: int
) -> tuple[Int[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """The first `most` items of every group in an order, and the rank of each in its group."""
    sorted_ = np.argsort((groups.astype(np.int64) << 32) + order, kind="stable")
    group = groups[sorted_]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    kept = rank < most
    return sorted_[kept], rank[kept]


def _blocks(activations: Activations) -> Iterator[list[str]]:
    units = activations.units.filter(state=OK)["id"].to_list()
    for start in range(0, len(units), _BLOCK):
        yield units[start : start + _BLOCK]


def _edges(
    units: Int[np.ndarray, " fired"], values: Float32[np.ndarray, " fired"], count: int, bins: Bins
) -> Float32[np.ndarray, "units edges"]:
    """Of each unit the lowest value at which it fires, where the other bins begin, and the highest."""
    by_unit = np.lexsort((values, units))
    value, size = values[by_unit], np.bincount(units, minlength=count)
    start = np.cumsum(size) - size
    edges = np.full((count, bins.count + 1), np.nan, dtype=np.float32)
    some = np.flatnonzero(size)
    lowest, highest = value[start[some]], value[start[some] + size[some] - 1]
    shares = np.arange(bins.count + 1) / bins.count
    if bins.by == "step":
        edges[some] = highest[:, None] * shares.astype(np.float32)
    else:
        at = np.minimum(np.ceil(size[some, None] * shares).astype(np.int64), size[some, None] - 1)
        edges[some] = value[start[some, None] + at]
    edges[some, 0], edges[some, -1] = lowest, highest
    return edges


class _Silent:
    """Which units are known not to fire on which examples."""

    def __init__(self, excluded, rows: np.ndarray, examples: int) -> None:
        self._examples = examples
        self._keys = np.sort(excluded.col.astype(np.int64) * examples + rows[excluded.row])

    def __call__(self, units: np.ndarray, examples: np.ndarray) -> np.ndarray:
        key = units.astype(np.int64) * self._examples + examples
        if not len(self._keys):
            return np.ones(len(key), dtype=bool)
        return self._keys[np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)] != key


_Misses = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Unit, rank, example, nearness and span of each."""


class _Having:
    """Which examples of a part have a token."""

    def __init__(self, tokens: Tokens, rows: np.ndarray, order: np.ndarray) -> None:
        """`order`: in which examples are taken."""
        self.tokens = tokens
        example = np.repeat(np.arange(len(tokens)), tokens.lengths)
        asked = np.zeros(len(tokens), dtype=bool)
        asked[rows] = True
        at = np.flatnonzero(tokens.content & asked[example])
        token, example = tokens.ids[at].astype(np.int64), example[at]
        first = np.lexsort((order[example], token))  # stable: of an example its first comes first
        at, token, example = at[first], token[first], example[first]
        new = np.ones(len(at), dtype=bool)
        new[1:] = (token[1:] != token[:-1]) | (example[1:] != example[:-1])
        self._at, self._token, self._example = at[new], token[new], example[new]

    def misses(self, examples: np.ndarray, positions: np.ndarray, silent: _Silent, most: int) -> _Misses:
        """Of each unit, whose strongest exemplars and their positions are given."""
        token = self._peak(examples, positions)
        start, stop = (np.searchsorted(self._token, token, side=side) for side in ("left", "right"))
        lacking, have = np.flatnonzero(stop > start), np.zeros(len(token), dtype=np.int64)
        found, seen, size = [], 0, 8 * most
        while len(lacking):
            place = start[lacking, None] + np.arange(seen, seen + size)
            there = place < stop[lacking, None]
            unit, column = there.nonzero()
            place, unit = place[unit, column], lacking[unit]
            kept = silent(unit, self._example[place])
            unit, place = unit[kept], place[kept]
            rank = have[unit] + np.arange(len(unit)) - np.searchsorted(unit, unit)
            found.append((unit[rank < most], rank[rank < most], place[rank < most]))
            have += np.bincount(unit, minlength=len(have))
            seen, size = seen + size, 2 * size
            lacking = lacking[(have[lacking] < most) & (start[lacking] + seen < stop[lacking])]
        none = [(np.zeros(0, dtype=np.int64),) * 3]
        unit, rank, place = map(np.concatenate, zip(*found, *none, strict=True))
        order = np.lexsort((rank, unit))
        unit, rank, place = unit[order], rank[order], place[order]
        spans = self.tokens.spans[self._at[place]]
        return unit, rank, self._example[place], np.full(len(unit), np.nan), spans

    def _peak(self, examples: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The token at which most of a unit's exemplars peak, of several that of the strongest; -1: none."""
        known = (examples >= 0) & (positions >= 0)
        at = self.tokens.starts[np.where(known, examples, 0)] + np.where(known, positions, 0)
        token = np.where(known, self.tokens.ids[at].astype(np.int64), -1)
        often = ((token[:, :, None] == token[:, None, :]) & known[:, :, None]).sum(2)
        return token[np.arange(len(token)), often.argmax(1)]


def _mean(vectors: np.ndarray, examples: np.ndarray) -> Float[np.ndarray, "units dim"]:
    """The mean of each unit's exemplars, with length 1; NaN of a unit without any."""
    mean = (vectors[np.maximum(examples, 0)] * (examples >= 0)[:, :, None]).sum(1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.divide(mean, length, out=np.full_like(mean, np.nan), where=length > 0)


def _nearest(
    means: Float[np.ndarray, "units dim"],
    vectors: Float[np.ndarray, "looked dim"],
    excluded: sp.csc_matrix,
    most: int,
) -> tuple[np.ndarray, ...]:
    """Of each unit the nearest that are not excluded (units x looked): unit, rank, which, and cosine."""
    found, step = [], max(1, _CELLS // max(1, len(vectors)))
    excluded, most = excluded.tocsr(), min(most, len(vectors))
    for start in range(0, len(means), step):
        near = np.nan_to_num(means[start : start + step] @ vectors.T, nan=-np.inf)
        near[excluded[start : start + step].nonzero()] = -np.inf
        best = np.argpartition(-near, most - 1, axis=1)[:, :most] if most else np.zeros((len(near), 0), int)
        best.sort(axis=1)  # so that of equally near ones the first comes first
        value = np.take_along_axis(near, best, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        best, value = (np.take_along_axis(each, order, axis=1) for each in (best, value))
        unit, rank = np.isfinite(value).nonzero()
        found.append((start + unit, rank, best[unit, rank], value[unit, rank]))
    none = (*(np.zeros(0, dtype=np.int64),) * 3, np.zeros(0, dtype=np.float32))
    return tuple(map(np.concatenate, zip(*found, none, strict=True)))
