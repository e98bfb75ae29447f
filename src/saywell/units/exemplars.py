"""Exemplars and contrasts: examples on which units fire most, and some on which they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from saywell.data.parts import DescribeRows, Rows
from saywell.data.splits import hash_numbers
from saywell.store.table import Table
from saywell.units.activations import Activations
from saywell.units.firing import OK

EXEMPLARS = Table(
    "exemplars",
    {
        "unit": pl.String,
        "part": pl.String,
        "rank": pl.Int32,
        "example": pl.String,
        "activation": pl.Float32,
        "span_start": pl.Int32,
        "span_end": pl.Int32,
        "region_left": pl.Float32,
        "region_top": pl.Float32,
        "region_right": pl.Float32,
        "region_bottom": pl.Float32,
    },
    key=("unit", "part", "rank"),
    optional=frozenset({"region_left", "region_top", "region_right", "region_bottom"}),
)
"""Strongest examples. The span is in characters of the text, end exclusive; the region in shares of the
picture's width and height."""
CONTRASTS = Table(
    "contrasts",
    {"unit": pl.String, "rank": pl.Int32, "example": pl.String, "activation": pl.Float32},
    key=("unit", "rank"),
)
"""Describe examples, drawn at random, on which a unit does not fire."""
KEPT_CONTRASTS = 3
"""Examples on which a unit does not fire that are kept of each."""
_FIRST = 20 * KEPT_CONTRASTS
_BLOCK = 4096

Locate = Callable[[np.ndarray, np.ndarray, np.ndarray], pl.DataFrame]
"""Columns that say where in an example a response came from, one row for each place (column of what is
stored), example and position: span_start and span_end in a text, region_left ... in a picture."""


def nowhere(places: np.ndarray, examples: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
    """The spans of responses to whole examples: none."""
    nothing = pl.Series([None] * len(places), dtype=pl.Int32)
    return pl.DataFrame({"span_start": nothing, "span_end": nothing})


def exemplar_table(
    activations: Activations, ids: Sequence[str], parts: Mapping[str, Rows], m: int, locate: Locate = nowhere
) -> pl.DataFrame:
    """Table `exemplars`: per unit and part the strongest `m` examples among those on which it fires.

    `ids` are those of all examples; `parts` gives the rows of each part by its name. Units that are not
    "ok" have none.
    """
    names, units = np.asarray(ids, dtype=object), activations.units["id"].to_numpy()
    sign, place = activations.units["sign"].fill_null(1).to_numpy(), activations.units["place"].to_numpy()
    frames = []
    for name, rows in parts.items():
        top = activations.strongest(rows, m)
        values, examples, positions = (array.numpy() for array in top)
        unit, rank = activations.fires_at(examples, values).nonzero()
        example, value = examples[unit, rank], values[unit, rank]
        frame = pl.DataFrame(
            {
                "unit": pl.Series(units[unit], dtype=pl.String),  # also where nothing fires
                "part": pl.Series([name] * len(unit), dtype=pl.String),
                "rank": pl.Series(rank, dtype=pl.Int32),
                "example": pl.Series(names[example], dtype=pl.String),
                "activation": pl.Series(sign[unit] * value, dtype=pl.Float32),
            }
        )
        frames.append(frame.hstack(locate(place[unit], example, positions[unit, rank])))
    return pl.concat(frames)


def contrast_table(
    activations: Activations,
    ids: Sequence[str],
    describe: DescribeRows,
    seed: int,
    most: int = KEPT_CONTRASTS,
) -> pl.DataFrame:
    """Table `contrasts`: what a unit leaves alone, for comparison with its exemplars.

    Of each unit that is "ok" the first `most` describe examples, in an order drawn by hash and `seed`,
    on which it is known not to fire.
    """
    keys = hash_numbers(ids, seed, "contrast")[describe.rows]
    shuffled = describe.rows[np.argsort(keys, kind="stable")]
    names = np.asarray(ids, dtype=object)
    units = activations.units.filter(state=OK)["id"].to_numpy()
    found: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(units), _BLOCK):
        lacking = np.arange(start, min(start + _BLOCK, len(units)))
        have = np.zeros(len(lacking), dtype=np.int64)
        seen, size = 0, _FIRST  # of most units the first dozens of any order hold enough
        while len(lacking) and seen < len(shuffled):
            some = shuffled[seen : seen + size]
            values, fires = activations.both(units[lacking].tolist(), some)
            silent = ~fires & ~np.isnan(values)
            rank = np.cumsum(silent, axis=1) - 1 + have[:, None]
            unit, column = (silent & (rank < most)).nonzero()
            found.append((lacking[unit], rank[unit, column], some[column], values[unit, column]))
            have = have + silent.sum(1)
            lacking, have = lacking[have < most], have[have < most]
            seen, size = seen + size, 2 * size
    unit, rank, row, value = (
        np.concatenate(parts) if found else np.empty(0, dtype=np.int64)
        for parts in (zip(*found, strict=True) if found else [[]] * 4)
    )
    order = np.lexsort((rank, unit))
    unit, rank, row, value = unit[order], rank[order], row[order], value[order]
    sign = activations.only(units.tolist()).units["sign"].fill_null(1).to_numpy()
    return pl.DataFrame(
        {
            "unit": pl.Series(units[unit], dtype=pl.String),
            "rank": pl.Series(rank, dtype=pl.Int32),
            "example": pl.Series(names[row], dtype=pl.String),
            "activation": pl.Series(sign[unit] * value, dtype=pl.Float32),
        }
    )
