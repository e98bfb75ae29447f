"""Tables for Embedding Atlas: the examples with the units that fire on each, the units, and labels of a map.

examples.parquet   id, text or name, part, label; vector, x, y where the study has vectors; features
features.parquet   a described unit a row, joined to `features` of the examples
labels.parquet     where the study has vectors: verified descriptions, in the middle of their examples
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from saywell.data.examples import Examples
from saywell.data.parts import Rows
from saywell.errors import InputError
from saywell.exports.shown import Feature, Shown
from saywell.resources import STORED_VECTORS, VECTORS
from saywell.scorers.deciding import VERIFIED
from saywell.store.files import read_array
from saywell.studies.again import stored_run
from saywell.units.activations import Activations

_CELLS = 1 << 24
_KEPT = ("id", "text", "first", "second", "name", "part", "label", "tags", "row")
_FEATURE = pa.struct([("feature", pa.string()), ("source", pa.string()), ("index", pa.int32())])
JOIN = "mainKey=UNNEST(list_transform(features, s -> s.feature));key=feature"


def write_embedding_atlas(shown: Shown, folder: Path) -> list[str]:
    """Three tables; gives the command that opens them."""
    study = shown.study
    kept = stored_run(study, (), {})
    described = [feature for feature in shown.features(None, shots=False) if feature.text]
    if not described:
        raise InputError(f"{str(study.path)!r} has no description to show")
    _features(described).write_parquet(folder / "features.parquet")
    vectors = read_array(study.file(VECTORS), STORED_VECTORS[VECTORS][1]) if study.has(VECTORS) else None
    places = None if vectors is None else plane(vectors)
    table = _with_places(kept.examples, vectors, places)
    _write(table, kept.subject.activations, described, folder / "examples.parquet")
    options = ["--features features"]
    options += ["--text text"] if kept.examples.kind == "text" else []
    options += ["--vector vector"] if vectors is not None else []
    options.append(f"--table features features.parquet --table-relation features '{JOIN}'")
    notes = [f"Open it there with: embedding-atlas examples.parquet {' '.join(options)}"]
    if places is not None:
        labels = _labels(study.exemplars, kept.examples, described, places)
        labels.write_parquet(folder / "labels.parquet")
        notes.append("For a flat map (two main directions) add --x x --y y --labels labels.parquet.")
    return notes


def plane(vectors: np.ndarray) -> np.ndarray:
    """Vectors [examples, 2] in the two directions of their largest variance."""
    away = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(away.T @ away)
    flat = away @ axes[:, ::-1][:, :2]
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


def called(feature: Feature) -> str:
    """A unit by its id and description, unlike any other."""
    return f"{feature.unit}: {feature.text}"


def _features(described: list[Feature]) -> pl.DataFrame:
    rows = []
    for one in described:
        score = [(one.score or {}).get(name) for name in _SCORE]
        rows.append((called(one), one.unit, one.index, one.text, one.describer, *score))
    schema = {"feature": pl.String, "unit": pl.String, "index": pl.Int32, "description": pl.String}
    return pl.DataFrame(rows, schema={**schema, "describer": pl.String, **_SCORE}, orient="row")


_SCORE: dict[str, Any] = {
    "status": pl.String,
    "reader": pl.String,
    **dict.fromkeys(("value", "ci_low", "ci_high", "control", "skill"), pl.Float64),
}


def _with_places(examples: Examples, vectors: np.ndarray | None, places: np.ndarray | None) -> pl.DataFrame:
    table = examples.table.select(name for name in _KEPT if name in examples.table.columns)
    if vectors is not None:
        table = table.with_columns(vector=pl.Series(vectors.astype(np.float32)))
    if places is not None:
        table = table.with_columns(x=pl.Series(places[:, 0]), y=pl.Series(places[:, 1]))
    return table


def _write(table: pl.DataFrame, activations: Activations, described: list[Feature], path: Path) -> None:
    """The examples with the units that fire on each, some rows at a time."""
    told = [{"feature": called(one), "source": one.describer, "index": one.index} for one in described]
    kind = pa.list_(_FEATURE)
    own = activations.only([one.unit for one in described])
    schema = table.head(0).to_arrow().schema.append(pa.field("features", kind))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows, fires in _fired(own, table.height):
            said = pa.array([[told[unit] for unit in units] for units in fires], type=kind)
            writer.write_table(table[rows].to_arrow().append_column("features", said).cast(schema))


def _fired(activations: Activations, count: int) -> Iterator[tuple[np.ndarray, list[list[int]]]]:
    """Some examples at a time, in order, and the numbers of the units that fire on each."""
    width = max(64, _CELLS // max(1, activations.units.height))
    for start in range(0, count, width):
        rows = np.arange(start, min(count, start + width))
        said: list[list[int]] = [[] for _ in rows]
        for some, fires in activations.by_example(Rows(rows)):
            for line, row in enumerate(some.tolist()):
                said[row - start] = np.sort(
                    fires.indices[fires.indptr[line] : fires.indptr[line + 1]]
                ).tolist()
        yield rows, said


def _labels(
    exemplars: pl.DataFrame, examples: Examples, described: list[Feature], places: np.ndarray
) -> pl.DataFrame:
    """Verified descriptions in the middle of the strongest examples of their units; the surest first."""
    row = {id: number for number, id in enumerate(examples.ids)}
    sure = {one.unit: one for one in described if one.score and one.score["status"] == VERIFIED}
    own = exemplars.filter(pl.col("unit").is_in(list(sure)), pl.col("rank") < 10)
    found = []
    for (unit,), some in own.group_by("unit", maintain_order=True):
        one = sure[str(unit)]
        x, y = np.median(places[[row[id] for id in some["example"]]], axis=0).tolist()
        found.append((x, y, one.text, 0, float((one.score or {}).get("skill") or 0.0)))
    schema = {"x": pl.Float64, "y": pl.Float64, "text": pl.String, "level": pl.Int32, "priority": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row").sort("priority", descending=True)
