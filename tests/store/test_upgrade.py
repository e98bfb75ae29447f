"""What format 2 glued into names comes back as columns and fields."""

from __future__ import annotations

import json

import polars as pl
import pytest

from saywell.data.parts import DESCRIBE, SCORE, SELECT, parts_of
from saywell.errors import SchemaError
from saywell.explorer.tables import Tables
from saywell.selection.of_texts import chosen_by
from saywell.store.files import file_hash
from saywell.store.study import Study
from saywell.store.upgrade import upgraded_metric, upgraded_table
from saywell.studies.classes.pool import ALL_TEXTS, PERMUTED, SEARCHED, name_free, weighted
from saywell.transfer.text_sets import TextSet

SETS = [
    chosen_by("ift-proponent"),
    chosen_by("ift-literal", network=True),
    weighted(chosen_by("clip-standardised")),
    name_free(SEARCHED),
    name_free(ALL_TEXTS),
    PERMUTED,
    TextSet("cupl, weighted", "file", name_free=True),
]


@pytest.mark.parametrize("table", ["zero_shot", "transfer"])
def test_sets_of_texts(table):
    old = pl.DataFrame({"method": [texts.said for texts in SETS]})
    if table == "zero_shot":  # the other one did not say
        old = old.with_columns(role=pl.Series([texts.role for texts in SETS]))
    else:
        old = old.with_columns(selection=pl.lit("validation"))
    assert upgraded_table(table, old).select(TextSet._fields).rows() == SETS


@pytest.mark.parametrize(
    ("figure", "variant", "line"),
    [
        ("precision@k", "composition", ("composition", False, "all", "")),
        ("precision@k", "enrichment, calibrated", ("enrichment", True, "all", "")),
        (
            "recall@k",
            "enrichment, calibrated, shuffled exemplars (lexical tags)",
            ("enrichment", True, "lexical", "shuffled exemplars"),
        ),
        ("recall@k", "most frequent (lexical tags)", ("", False, "lexical", "most frequent")),
        ("recall@k", "best possible", ("", False, "all", "best possible")),
        (
            "recall against threshold",
            "shuffled exemplars",
            ("composition", False, "all", "shuffled exemplars"),
        ),
        ("recall against threshold", "composition", ("composition", False, "all", "")),
    ],
)
def test_curves(figure, variant, line):
    found = upgraded_table("curves", pl.DataFrame({"figure": [figure], "variant": [variant]}))
    assert found.select("rule", "calibrated", "tags", "control").row(0) == line


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("examples", {"id": "a", "split": "calibration"}, {"id": "a", "part": "describe"}),
        ("examples", {"id": "a", "split": "train"}, {"id": "a", "part": "describe"}),
        ("exemplars", {"split": "validation", "rank": 0}, {"part": "select", "rank": 0}),
        ("associations", {"split": "calibration"}, {"part": "describe"}),
        (
            "classes",
            {"name": "owl", "train": 3, "validation": 2, "test": 1},
            {"name": "owl", "describe": 3, "select": 2, "score": 1},
        ),
        *(
            (
                table,
                {"scorer": "f1-sentence-encoder", "split": "test"},
                {"part": "score", "measure": "f1", "reader": "sentence-encoder"},
            )
            for table in ("scores", "floors")
        ),
        ("text_scores", {"rule": "ift-literal, network"}, {"rule": "ift-literal", "network": True}),
        ("text_scores", {"rule": "nearest"}, {"rule": "nearest", "network": False}),
        ("descriptions", {"describer": "given, clip-only"}, {"describer": "given", "selection": "clip-only"}),
        ("descriptions", {"describer": "stepwise"}, {"describer": "", "selection": "stepwise"}),
        ("descriptions", {"describer": "extractive"}, {"describer": "extractive", "selection": None}),
        ("passages", {"id": "a"}, {"id": "a"}),
    ],
)
def test_columns(table, old, new):
    assert upgraded_table(table, pl.DataFrame([old])).to_dicts() == [new]


@pytest.mark.parametrize(
    ("name", "figure", "by"),
    [
        (
            "recall@2, enrichment, calibrated (lexical tags)",
            "recall@2",
            {"rule": "enrichment", "calibrated": True, "tags": "lexical"},
        ),
        ("Jaccard, composition", "Jaccard", {"rule": "composition"}),
        ("verified by image-text encoder", "verified", {"reader": "dual-encoder"}),
        (
            "zero-shot accuracy, nearest, name-free",
            "zero-shot accuracy",
            {"rule": "nearest", "name_free": True},
        ),
        ("transfer gain, 4 shots, shots alone", "transfer gain", {"shots": 4, "selection": "shots"}),
        ("transfer gain, all images", "transfer gain", {"shots": 0, "selection": "select"}),
        ("AUROC of good texts, nearest", "AUROC of good texts", {"rule": "nearest", "network": False}),
        ("precision@2", "precision@2", {}),
        ("anything, else", "anything", {}),
    ],
)
def test_figures(name, figure, by):
    assert upgraded_metric({"name": name}) == {"name": name, "figure": figure, "by": by}


def test_a_table_that_format_2_never_had_is_one_error():
    with pytest.raises(SchemaError, match="table 'scores' is not one of format 2"):
        upgraded_table("scores", pl.DataFrame({"unit": ["a"]}))
    with pytest.raises(SchemaError, match="table 'zero_shot' is not one of format 2"):
        upgraded_table("zero_shot", pl.DataFrame({"method": [1]}))


def test_a_study_of_format_2_is_read(tmp_path):
    """As the version before wrote one, table by table."""
    count = dict.fromkeys(("value", "ci_low", "ci_high", "control", "skill", "threshold"), pl.Float64)
    count |= dict.fromkeys(("skill_low", "skill_high", "p", "q"), pl.Float64)
    scored = {"unit": "layer.0/1", "description": "layer.0/1#0", "scorer": "f1-tags", "split": "test"}
    tables = {
        "examples": pl.DataFrame(
            {
                "id": ["a", "b", "c"],
                "split": ["calibration", "validation", "test"],
                "text": ["hot soup", "cold soup", "a room"],
                "row": [0, 1, 2],
            }
        ),
        "exemplars": pl.DataFrame(
            {
                "unit": ["layer.0/1"] * 2,
                "split": ["calibration", "validation"],
                "rank": pl.Series([0, 0], dtype=pl.Int32),
                "example": ["a", "b"],
                "activation": pl.Series([2.0, 1.0], dtype=pl.Float32),
                "span_start": pl.Series([4, 5], dtype=pl.Int32),
                "span_end": pl.Series([8, 9], dtype=pl.Int32),
            }
        ),
        "scores": pl.DataFrame([scored]).with_columns(
            scorer_version=pl.lit(3, pl.Int32),
            n=pl.lit(1, pl.Int64),
            status=pl.lit("verified"),
            floor=pl.lit("always"),
            unanswered=pl.lit(0, pl.Int64),
            **{name: pl.lit(0.5, dtype) for name, dtype in count.items()},
        ),
        "floors": pl.DataFrame([scored | {"floor": "always", "value": 0.25}]),
        "classes": pl.DataFrame({"name": ["owl"], "train": [3], "validation": [2], "test": [1]}),
    }
    for name, table in tables.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    told = {
        name: {
            "schema_version": 1,
            "rows": table.height,
            "hash": file_hash(tmp_path / f"{name}.parquet"),
            "seconds": 0.0,
        }
        for name, table in tables.items()
    }
    manifest = {"schema_version": 2, "kind": "neurons", "status": "complete", "command": [], "config": {}}
    manifest |= {"inputs": {}, "versions": {"saywell": "0.9"}, "started": "2026-01-01", "tables": told}
    (tmp_path / "study.json").write_text(json.dumps(manifest))

    study = Study(tmp_path)
    parts = parts_of(study.examples)
    assert [rows.rows.tolist() for rows in parts] == [[0], [1], [2]]
    assert study.exemplars["part"].to_list() == [DESCRIBE, SELECT]
    assert study.scores.select("measure", "reader", "part").rows() == [("f1", "tags", SCORE)]
    assert study.table("floors")["part"].to_list() == [SCORE]
    assert study.table("classes").row(0) == ("owl", 3, 2, 1)
    tables = Tables(study)
    tables.lock()
    assert tables.rows("select example from exemplars where part = ?", [DESCRIBE]) == [{"example": "a"}]
    assert tables.rows("select id from examples order by file_row_number")[2] == {"id": "c"}
