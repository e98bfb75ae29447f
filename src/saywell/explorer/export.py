"""A study to take away: tables with the verdicts of people, and files for Neuronpedia."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import polars as pl

from saywell.explorer.verdicts import HumanVerdict
from saywell.exports.names import identifier
from saywell.exports.neuronpedia_jsonl import (
    AUTHOR,
    BATCH,
    explanation_models,
    explanation_types,
    row_id,
    score_words,
    type_name,
)
from saywell.exports.writing import json_lines

PERSON = ("human_verdict", "human_text", "human_note", "human_name", "human_time")


def with_verdicts(table: pl.DataFrame, latest: Mapping[str, HumanVerdict]) -> pl.DataFrame:
    """The table with the verdict that stands beside each `id`, in columns of its own.

    `human_stale` is true where the description has changed since the person saw it.
    """
    rows = [(v.item, v.done, v.text, v.note, v.name, v.time, v.machine_text) for v in latest.values()]
    schema: dict[str, Any] = dict.fromkeys(("id", *PERSON, "_seen"), pl.String)
    people = pl.DataFrame(rows, schema=schema, orient="row")
    return (
        table.join(people, on="id", how="left", maintain_order="left")
        .with_columns(human_stale=pl.col("_seen") != pl.col("text").fill_null(""))
        .drop("_seen")
    )


def as_neuronpedia(table: pl.DataFrame, model: str) -> bytes:
    """A ZIP in the layout of Neuronpedia's exports, which its import reads: explanations by source.

    `table` as `with_verdicts` gives it. A person's rewriting takes the place of the description,
    rejected descriptions and sides going low (which have no place there) are left out.
    """
    model_id = identifier(model)
    sources: dict[str, list[dict[str, Any]]] = {}
    types: dict[str, str] = {}
    models: dict[str, str] = {}
    for row in table.iter_rows(named=True):
        line = _explanation(row, model_id)
        if line is not None:
            sources.setdefault(line["layer"], []).append(line)
            types[line["typeName"]] = row["describer"] or "a person"
            if line["explanationModelName"]:
                models[line["explanationModelName"]] = row["llm"]
    files = {
        "v1/config/explanation_type.jsonl": json_lines(explanation_types(types)),
        "v1/config/explanation_model_type.jsonl": json_lines(explanation_models(models)),
    }
    for source, lines in sorted(sources.items()):
        lines.sort(key=lambda line: int(line["index"]))
        for batch, start in enumerate(range(0, len(lines), BATCH)):
            name = f"v1/{model_id}/{source}/explanations/batch-{batch}.jsonl.gz"
            files[name] = gzip.compress(json_lines(lines[start : start + BATCH]), mtime=0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return packed.getvalue()


def _explanation(row: Mapping[str, Any], model_id: str) -> dict[str, Any] | None:
    rewritten = row["human_verdict"] == "rewritten"
    text = row["human_text"] if rewritten else row["text"]
    if not text or row["index"] is None or (row["sign"] or 1) < 0:
        return None
    if not rewritten and (row["status"] != "described" or row["human_verdict"] == "rejected"):
        return None
    source = f"{row['layer'] or 0}-saywell-{identifier(row['kind'] or 'unit')}"
    said = text.replace("\x00", " ")
    notes = [] if rewritten else [score_words(row, row["verdict"])]
    if row["human_verdict"]:
        notes.append(f"{row['human_verdict']} by a person")
    return {
        "id": row_id(model_id, source, row["index"], said),
        "modelId": model_id,
        "layer": source,
        "index": str(row["index"]),
        "authorId": AUTHOR,
        "description": said,
        "typeName": "saywell_human" if rewritten else type_name(row["describer"] or ""),
        "explanationModelName": None if rewritten or not row["llm"] else identifier(row["llm"]),
        "notes": "; ".join(note for note in notes if note) or None,
    }
