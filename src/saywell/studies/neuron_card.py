"""Everything a study knows of one neuron."""

from __future__ import annotations

from typing import Any

import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.store.records import unknown_unit
from saywell.store.study import Study


def neuron_card(study: Study, unit: str, *, examples: int = 8) -> dict[str, Any]:
    """Both sides of a neuron (one when `unit` ends in "-"), as plain values.

    Raises InputError for a unit that the study does not have.
    """
    units = study.units
    names = [unit] if unit.endswith("-") else [unit, f"{unit}-"]
    chosen = units.filter(pl.col("id").is_in(names))
    if chosen.is_empty():
        raise unknown_unit(unit, units["id"].to_list())
    return {"unit": unit, "sides": [_side(study, row, examples) for row in chosen.iter_rows(named=True)]}


def _side(study: Study, unit: dict[str, Any], examples: int) -> dict[str, Any]:
    name = unit["id"]
    exemplars = (
        study.exemplars.filter(unit=name, part=DESCRIBE)
        .sort("rank")
        .head(examples)
        .join(study.examples.select("id", "text"), left_on="example", right_on="id", maintain_order="left")
    )
    description = study.descriptions.filter(unit=name).row(0, named=True)
    descriptors = (
        study.table("associations")
        .filter(unit=name, part=DESCRIBE, enriched=True)
        .join(study.table("descriptors").select("id", "text"), left_on="descriptor", right_on="id")
        .sort("lift", descending=True)
        .select("text", "hits", "exemplars", "composition", "lift", "q")
    )
    score = study.scores.filter(unit=name)
    floors = study.table("floors").filter(unit=name)
    return {
        "unit": name,
        "sign": unit["sign"],
        "state": unit["state"],
        "threshold": unit["threshold"],
        "description": description["text"],
        "status": description["status"],
        "score": score.drop("unit", "description").row(0, named=True) if score.height else None,
        "floors": floors.drop("unit", "description", "part").to_dicts(),
        "counterexamples": _with_texts(study, "counterexamples", name),
        "contrasts": _with_texts(study, "contrasts", name),
        "meanings": study.table("meanings").filter(unit=name).drop("unit").to_dicts(),
        "descriptors": descriptors.to_dicts(),
        "exemplars": exemplars.drop("unit", "part").to_dicts(),
    }


def _with_texts(study: Study, table: str, unit: str) -> list[dict[str, Any]]:
    texts = study.examples.select("id", "text")
    rows = study.table(table).filter(unit=unit).drop("unit")
    return rows.join(texts, left_on="example", right_on="id", maintain_order="left").to_dicts()
