"""Who may see which examples: those that descriptions are written from, chosen by, and scored on.

The three are different types, so that a type checker refuses a scorer the examples of a describer;
`require` refuses at run time. Both are made in one place, which checks that nothing is in two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Int64

from saywell.errors import LeakError


@dataclass(frozen=True)
class Rows:
    """Places of examples in a table, ascending."""

    rows: Int64[np.ndarray, " examples"]

    def __len__(self) -> int:
        return len(self.rows)


class DescribeRows(Rows):
    """Examples that a describer may see."""


class SelectRows(Rows):
    """Examples that thresholds are fitted on and descriptions are chosen by."""


class ScoreRows(Rows):
    """Examples that scores are measured on, and nothing else."""


class Parts(NamedTuple):
    """All of a study's examples, each in one part."""

    describe: DescribeRows
    select: SelectRows
    score: ScoreRows


# What the studies call the three.
_NAMES = {"describe": ("calibration", "train"), "select": ("validation", "val"), "score": ("test",)}

Part = TypeVar("Part", bound=Rows)


def parts_of(examples: pl.DataFrame) -> Parts:
    """The three parts of a table with columns `id` and `split`, and `group` where it has one.

    Raises LeakError when an id, or a group of near duplicates, is in more than one part.
    """
    split = examples["split"].to_list()
    part_of = {name: part for part, names in _NAMES.items() for name in names}
    unknown = sorted({str(name) for name in split} - set(part_of))
    if unknown:
        raise LeakError(f"split {unknown[0]!r} is none of {', '.join(sorted(part_of))}")
    part = pl.Series("part", [part_of[name] for name in split], dtype=pl.String)
    for column in ("id", "group"):
        if column in examples.columns:
            check_apart(examples[column], part)
    rows = {name: np.flatnonzero((part == name).to_numpy()) for name in _NAMES}
    return Parts(DescribeRows(rows["describe"]), SelectRows(rows["select"]), ScoreRows(rows["score"]))


def check_apart(key: pl.Series, part: pl.Series) -> None:
    """Raise LeakError when equal keys (not null) stand in different parts."""
    table = pl.DataFrame({"key": key, "part": part}).drop_nulls().unique()
    twice = table.group_by("key", maintain_order=True).len().filter(pl.col("len") > 1)
    if twice.height:
        name = twice["key"][0]
        where = sorted(table.filter(pl.col("key") == name)["part"])
        raise LeakError(
            f"{key.name} {name!r} is in {' and '.join(where)}: the same example would be both"
            " described and scored; split by content (saywell.data.splits)"
        )


def require(kind: type[Part], rows: Rows) -> Part:
    """`rows` when they are of that kind. Raises LeakError otherwise."""
    if not isinstance(rows, kind):
        raise LeakError(
            f"got {type(rows).__name__} where {kind.__name__} belong: take them from parts_of(examples)"
        )
    return rows
