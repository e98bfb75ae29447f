"""Exam questions from data: two groups of texts each, and what people say is their difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtri

from saywell.data.duplicates import near_duplicate_groups
from saywell.data.examples import REJECTED, Examples
from saywell.data.parts import DESCRIBE, PARTS, SPLIT_OF, SPLITS
from saywell.data.splits import check_seed, content_ids, hash_numbers
from saywell.data.tables import open_table
from saywell.data.texts import NEAR
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.planted.rules import NOISE, PlantedUnit

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


Tasks = list[tuple[str, pl.DataFrame]]
"""The rows of each by its name."""


def read_tasks(path: str | Path, *, limit: int | None = None, seed: int = 0) -> Tasks:
    """Every task of a Parquet or CSV file with its rows: `id`, `text`, `label`, `part`, `gold`, `group`.

    `limit` keeps at most so many texts of each group in each part, chosen by content.

    Columns: `task`, `gold_description`, `text`, `label` (1 where the description holds, else 0) and
    `split` (train, val and test: described from, selected by, scored on). Near duplicates (see
    `near_duplicate_groups`), of whatever tasks, go together into the part of the one with the smallest id, so
    that nobody is scored on what the describer has all but read; column `group` is that id.

    Raises InputError for a file that cannot be read or lacks a column, a task with several gold
    descriptions or a text in both groups, and a part of a task that lacks one of the two groups.
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
    alike = table.select(pl.col("text").unique(maintain_order=True))
    alike = alike.with_columns(
        id=pl.Series(content_ids(alike["text"]), dtype=pl.String),
        group=pl.Series(near_duplicate_groups(alike["text"], NEAR)),
    )
    table = table.join(alike, on="text", how="left", maintain_order="left").with_columns(
        pl.col("part").sort_by("id", "part").first().over("group"), group=pl.col("id").min().over("group")
    )
    tasks = []
    for (name,), rows in table.group_by(["task"], maintain_order=True):
        golds = rows["gold_description"].unique().sort().to_list()
        if len(golds) != 1:
            raise InputError(f"task {name!r} has {len(golds)} gold descriptions; give one for all rows")
        both = rows.group_by("id").agg(pl.col("text").first(), pl.col("label").n_unique()).filter(label=2)
        if both.height:
            raise InputError(f"task {name!r} has {both['text'][0][:80]!r} in both groups; leave it in one")
        rows = rows.unique("id", keep="first", maintain_order=True)
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


def task_examples(tasks: Tasks) -> Examples:
    """The texts of all tasks, each once."""
    rows = pl.concat([rows.select("id", "text", "part", "group") for _, rows in tasks])
    table = rows.unique("id").sort("id").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    fingerprint = combined(*table["id"], *table["part"])
    return Examples(table, "text", fingerprint, REJECTED.empty(), table.height)


def task_units(tasks: Tasks, examples: Examples, seed: int) -> list[PlantedUnit]:
    """Of each task a unit that fires on texts with label 1, and one that fires by chance as often.

    They have nothing to do with the texts of other tasks.
    """
    place = {id: number for number, id in enumerate(examples.ids)}
    units = []
    for name, rows in tasks:
        here = [place[id] for id in rows["id"]]
        label = rows["label"].to_numpy() == 1
        ids = [f"{name}:{id}" for id in rows["id"]]
        chance = ((hash_numbers(ids, seed, "noise") >> np.uint64(11)) + 0.5) * 2.0**-53
        # Where it fires by chance, it does so by different strengths, and so has exemplars of its own.
        at_random = ndtri(chance) - ndtri(1 - label.mean())
        response = np.full((2, len(place)), np.nan)
        response[:, here] = label, at_random
        rule = response[0] == 1
        units += [
            PlantedUnit(name, TASK, rows["gold"][0], rule, response[0]),
            PlantedUnit(f"{name} (by chance)", NOISE, "", np.zeros_like(rule), response[1], 0.0),
        ]
    return units
