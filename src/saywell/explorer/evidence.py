"""What a unit's card holds its description against, gathered for the report's own drawing of it."""

from __future__ import annotations

from typing import Any

from saywell.explorer.tables import Tables
from saywell.explorer.units import unit_rows, with_texts
from saywell.report.unit_cards import Evidence


def unit_evidence(tables: Tables, unit: str) -> Evidence:
    """Readers with their floors, counterexamples, contrasts and meanings; empty where there are none."""
    return Evidence(
        exemplars={},
        descriptors={},
        readings={unit: _readings(tables, unit)},
        against={unit: with_texts(tables, "counterexamples", unit)},
        contrasts={unit: found} if (found := with_texts(tables, "contrasts", unit)) else {},
        meanings={unit: unit_rows(tables, "meanings", unit)},
    )


def _readings(tables: Tables, unit: str) -> list[dict[str, Any]]:
    """A unit's scores, each with its floors."""
    floors: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in unit_rows(tables, "floors", unit):
        floors.setdefault((row["description"], row["measure"], row["reader"]), []).append(row)
    return [
        {**row, "floors": floors[row["description"], row["measure"], row["reader"]]}
        for row in unit_rows(tables, "scores", unit)
        if (row["description"], row["measure"], row["reader"]) in floors and "skill" in row
    ]
