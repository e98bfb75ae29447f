"""Who may see which examples: those that descriptions are written from, chosen by, and scored on.

    parts = parts_of(examples)        # a table with columns id and part
    examples.filter(part=DESCRIBE)

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

DESCRIBE, SELECT, SCORE = "describe", "select", "score"
PARTS = (DESCRIBE, SELECT, SCORE)
SPLITS = {
    "train": DESCRIBE,
    "training": DESCRIBE,
    "validation": SELECT,
    "valid": SELECT,
    "val": SELECT,
    "dev": SELECT,
    "test": SCORE,
    "testing": SCORE,
}
"""The part of what a source calls a split; loaders translate it, and nothing else knows the words."""
SPLIT_OF = {part: next(split for split in SPLITS if SPLITS[split] == part) for part in PARTS}
"""What users call a part, for messages about their data."""


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


Part = TypeVar("Part", bound=Rows)


def parts_of(examples: pl.DataFrame) -> Parts:
    """The three parts of a table with columns `id` and `part`, and `group` where it has one.

    Raises LeakError when an id, or a group of near duplicates, is in more than one part.
    """
    part = examples["part"]
    unknown = part.filter(~part.is_in(PARTS) | part.is_null()).unique().sort()
    if len(unknown):
        raise LeakError(f"part {unknown[0]!r} is none of {', '.join(PARTS)}")
    for column in ("id", "group"):
        if column in examples.columns:
            check_apart(examples[column], part)
    describe, select, score = (np.flatnonzero((part == name).to_numpy()) for name in PARTS)
    return Parts(DescribeRows(describe), SelectRows(select), ScoreRows(score))


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
