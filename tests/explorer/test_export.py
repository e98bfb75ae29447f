"""What can be taken away."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import polars as pl
import pytest

from saywell.explorer.export import as_neuronpedia
from saywell.exports.names import identifier
from saywell.exports.neuronpedia_jsonl import AUTHOR
from saywell.exports.tables import as_csv

FORM = {"secret": "the-secret", "name": "Ada"}


@pytest.fixture
def judged(fresh):
    for item, action, text in (
        ("layer.0/0", "accept", ""),
        ("layer.1/1", "reject", ""),
        ("layer.2/2", "rewrite", "my words"),
        ("layer.0/3-", "rewrite", "a low side"),
    ):
        data = {**FORM, "item": item, "action": action, "text": text}
        assert fresh.client.post("/1/verdict", data=data).status_code == 303
    return fresh.client


def _frame(client, form, query=""):
    answer = client.get(f"/1/export/{form}{query}")
    assert f'filename="descriptions.{form}"' in answer.headers["content-disposition"]
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[form]
    return read(io.BytesIO(answer.content))


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_tables_carry_the_verdicts_in_their_own_columns(judged, form):
    table = _frame(judged, form)
    assert table.height == 80
    row = table.filter(id="layer.2/2").row(0, named=True)
    assert (row["human_verdict"], row["human_text"], row["human_name"]) == ("rewritten", "my words", "Ada")
    assert row["text"] == "javascript:alert(1)" and row["human_stale"] is False
    assert row["human_time"] == "2026-05-03T12:30:00+00:00"
    assert table["human_verdict"].null_count() == 76


def test_the_exact_forms_are_exact(judged, hostile):
    for form in ("parquet", "jsonl"):
        texts = set(_frame(judged, form, "?side=high")["text"])
        assert set(hostile.HOSTILE) <= texts


def test_a_spreadsheet_runs_nothing(judged, hostile):
    table = _frame(judged, "csv", "?side=high")
    assert "'=cmd|' /C calc'!A0" in table["text"].to_list()
    frame = pl.DataFrame({"a": ["=1", "+1", "-1", "@x", "\tx", "x=1", None], "b": [-1.0] * 7})
    assert pl.read_csv(io.BytesIO(as_csv(frame)))["a"].to_list() == [
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "x=1",
        None,
    ]


def test_filters_hold_for_exports(judged):
    assert _frame(judged, "parquet", "?person=reject")["id"].to_list() == ["layer.1/1"]
    assert _frame(judged, "parquet", "?layer=1&side=high").height == 13


def test_classes_are_taken_away_text_by_text(client):
    table = pl.read_parquet(io.BytesIO(client.get("/3/export/parquet").content))
    assert table.height == 40 and table["chosen"].sum() == 16
    assert {"human_verdict", "class", "score", "rank"} <= set(table.columns)


def _lines(archive, name):
    data = archive.read(name)
    text = gzip.decompress(data) if name.endswith(".gz") else data
    return [json.loads(line) for line in text.decode().splitlines()]


def test_neuronpedia(judged):
    answer = judged.get("/1/export/neuronpedia")
    assert answer.content == judged.get("/1/export/neuronpedia").content  # the same bytes again
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    batches = [n for n in archive.namelist() if n.endswith(".jsonl.gz")]
    assert batches == [
        f"v1/a-b-model/{layer}-saywell-ffn/explanations/batch-0.jsonl.gz" for layer in (0, 1, 2)
    ]
    rows = [row for name in batches for row in _lines(archive, name)]
    assert len(rows) == 39 and len({row["id"] for row in rows}) == 39  # one was rejected
    by_place = {(row["layer"], row["index"]): row for row in rows}
    assert ("1-saywell-ffn", "1") not in by_place
    assert by_place["2-saywell-ffn", "2"] == {
        "id": by_place["2-saywell-ffn", "2"]["id"],
        "modelId": "a-b-model",
        "layer": "2-saywell-ffn",
        "index": "2",
        "authorId": AUTHOR,
        "description": "my words",
        "typeName": "saywell_human",
        "explanationModelName": None,
        "notes": "rewritten by a person",
    }
    first = by_place["0-saywell-ffn", "0"]
    assert first["typeName"] == "saywell_extractive" and "Ada" not in json.dumps(rows)
    assert first["notes"] == (
        "f1 by tags 0.90 (95 % 0.80 to 1.00), control 0.20, verified; accepted by a person"
    )
    assert all("\x00" not in row["description"] for row in rows)
    types = _lines(archive, "v1/config/explanation_type.jsonl")
    assert {row["name"] for row in types} == {row["typeName"] for row in rows}
    # The importer takes the columns of the first line for all.
    assert len({tuple(row) for row in rows}) == 1


def test_llms_are_declared_and_batches_are_cut():
    rows = [
        {
            "id": f"u{n}",
            "kind": "ffn",
            "layer": 3,
            "index": n,
            "sign": 1,
            "text": f"text {n}",
            "status": "described",
            "describer": "exemplars",
            "llm": "openai:gpt-4o-mini",
            "value": None,
            "ci_low": None,
            "ci_high": None,
            "control": None,
            "measure": None,
            "reader": None,
            "verdict": "not verified",
            "human_verdict": None,
            "human_text": None,
        }
        for n in reversed(range(1500))
    ]
    packed = as_neuronpedia(pl.DataFrame(rows, infer_schema_length=None), "org/Some.Model")
    archive = zipfile.ZipFile(io.BytesIO(packed))
    names = [n for n in archive.namelist() if "explanations/" in n]
    first, second = (_lines(archive, name) for name in names)
    assert (len(first), len(second), second[-1]["index"]) == (1024, 476, "1499")
    (llm,) = _lines(archive, "v1/config/explanation_model_type.jsonl")
    assert llm["name"] == first[0]["explanationModelName"] == "openai-gpt-4o-mini"
    assert first[0]["modelId"] == "some-model" and first[0]["notes"] is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [("org/GPT-2 Small", "gpt-2-small"), ("../..", "model"), ("", "model"), ("x" * 300, "x" * 128)],
)
def test_identifiers(name, shown):
    assert identifier(name) == shown
