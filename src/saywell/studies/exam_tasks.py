"""Exam questions from data: two groups of texts each, and what people say is their difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtri

from saywell.data.duplicates import near_duplicate_groups
from saywell.data.parts import DESCRIBE, PARTS, SPLIT_OF, SPLITS
from saywell.data.planted_units import NOISE, PlantedUnit
from saywell.data.splits import check_seed, content_ids, hash_numbers
from saywell.data.tables import open_table
from saywell.data.texts import NEAR
from saywell.errors import InputError

TASK = "task"
_COLUMNS = {
    "task": pl.String,
    "gold_description": pl.String,
    "text": pl.String,
    "label": pl.Int64,
    "split": pl.String,
}
# Whoever made a file with saywell's own words for the parts may use it, too.
_PART_OF = {**SPLITS, "calibration": DESCRIBE, **{part: part for part in PARTS}}


def read_tasks(
    path: str | Path, *, limit: int | None = None, seed: int = 0
) -> list[tuple[str, pl.DataFrame]]:
    """Every task of a Parquet or CSV file with its rows: `id`, `text`, `label`, `part`, `gold`, `group`.

    `limit` keeps at most so many texts of each group in each part, chosen by content.

    Columns: `task`, `gold_description`, `text`, `label` (1 where the description holds, else 0) and
    `split` (train, val and test: described from, selected by, scored on). Near duplicates within a task
    (see `near_duplicate_groups`) go together into the part of the one with the smallest id, so that nobody
    is scored on what the describer has all but read; column `group` is that id.

    Raises InputError for a file that cannot be read or lacks a column, a task with several gold
    descriptions, and a part of a task that lacks one of the two groups.
    """
    check_seed(seed)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} is not a whole number of at least 1, or None")
    try:
        source = open_table(path)
    except InputError as error:
        raise InputError(f"cannot read the tasks in {str(path)!r}: {error}") from error
    missing = [column for column in _COLUMNS if column not in source.kinds]
    if missing:
        raise InputError(f"{str(path)!r} has no column {missing[0]!r}; tasks need {', '.join(_COLUMNS)}")
    # Names stay as they are written: a task called 00012 is no number.
    given = zip(_COLUMNS, source.take(list(_COLUMNS)), strict=True)
    try:
        table = pl.DataFrame([pl.Series(name, values) for name, values in given])
        table = table.with_columns(pl.col(pl.String).replace("", None)).cast(_COLUMNS).drop_nulls()  # type: ignore[arg-type]
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot read the tasks in {str(path)!r}: {error}") from error
    strange = table.filter(~pl.col("label").is_in([0, 1]))
    if strange.height:
        raise InputError(f"label {strange['label'][0]!r} in {str(path)!r} is neither 0 nor 1")
    split = table["split"].str.strip_chars().str.to_lowercase()
    unknown = table["split"].filter(~split.is_in(list(_PART_OF)))
    if len(unknown):
        raise InputError(
            f"split {unknown[0]!r} in {str(path)!r} is none of {', '.join(SPLIT_OF.values())}: rename it"
        )
    table = table.with_columns(split.replace_strict(_PART_OF, return_dtype=pl.String).alias("part"))
    tasks = []
    for (name,), rows in table.group_by(["task"], maintain_order=True):
        golds = rows["gold_description"].unique().sort().to_list()
        if len(golds) != 1:
            raise InputError(f"task {name!r} has {len(golds)} gold descriptions; give one for all rows")
        ids = pl.Series("id", content_ids(rows["text"]), dtype=pl.String)
        alike = pl.Series("group", near_duplicate_groups(rows["text"], NEAR))
        rows = rows.with_columns(ids, alike).with_columns(
            pl.col("part").sort_by("id").first().over("group"), group=pl.col("id").min().over("group")
        )
        groups = rows.group_by("part").agg(pl.col("label").n_unique()).sort("part")
        bare = groups.filter(pl.col("label") < 2)["part"].to_list()
        if bare or groups.height < 3:
            splits = [SPLIT_OF[part] for part in bare or groups["part"]]
            where = f"split {splits[0]!r}" if bare else f"splits {splits!r}"
            raise InputError(f"task {name!r} has {where}: train, val and test each need texts of both labels")
        gold = pl.col("gold_description").alias("gold")
        rows = rows.select("id", "text", "label", "part", gold, "group")
        tasks.append((str(name), rows if limit is None else _limited(rows, limit, seed)))
    return tasks


def _limited(rows: pl.DataFrame, limit: int, seed: int) -> pl.DataFrame:
    order = pl.Series("order", hash_numbers(rows["id"], seed, "limit"))
    place = pl.col("order").rank("ordinal").over("part", "label")
    return rows.with_columns(order).filter(place <= limit).drop("order")


def task_units(name: str, rows: pl.DataFrame, seed: int) -> list[PlantedUnit]:
    """The task as a unit that fires on texts with label 1, and one that fires by chance as often."""
    label = rows["label"].to_numpy() == 1
    ids = [f"{name}:{id}" for id in rows["id"]]
    chance = ((hash_numbers(ids, seed, "noise") >> np.uint64(11)) + 0.5) * 2.0**-53
    # Where it fires by chance, it does so by different strengths, and so has exemplars of its own.
    response = ndtri(chance) - ndtri(1 - label.mean())
    nothing = np.zeros(len(label), dtype=bool)
    return [
        PlantedUnit(name, TASK, rows["gold"][0], label, label.astype(np.float64)),
        PlantedUnit(f"{name} (by chance)", NOISE, "", nothing, response, 0.0),
    ]
