"""The table of units: what each responds to, and whether that is so; their cards are unit_cards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from saywell.report.formats import count, two
from saywell.report.parts import Element, Part, Rendered, clip, el, said, visible
from saywell.report.unit_cards import (
    EXEMPLARS_SHOWN,
    NONE,
    NOT_VERIFIED,
    VERIFIED,
    Evidence,
    read_evidence,
    score_bar,
    sentence_line,
    unit_card,
    why_not,
)
from saywell.store.records import Example, choose_example
from saywell.store.study import Study

SHOWN = {VERIFIED: 300, NOT_VERIFIED: 50, NONE: 30}
"""Units with a card, by verdict: the best-verified, and a sample of the others."""


@dataclass(frozen=True)
class UnitVerdicts:
    """Every unit with its description and score, best first; `verdict` sums both up."""

    table: pl.DataFrame

    @property
    def described(self) -> pl.DataFrame:
        """Units that have a description."""
        return self.table.filter(status="described")

    @property
    def verified(self) -> pl.DataFrame:
        """Units whose description held on held-out sentences."""
        return self.table.filter(verdict=VERIFIED)

    @property
    def undescribed(self) -> pl.DataFrame:
        """Units without a description; `status` is the reason."""
        return self.table.filter(pl.col("status") != "described")


def unit_verdicts(study: Study) -> UnitVerdicts:
    """Units joined with the selected description and its first score, by skill, best first."""
    descriptions = (
        study.descriptions.sort("selected", "rank", descending=[True, False])
        .unique("unit", keep="first", maintain_order=True)
        .select("unit", "text", "descriptors", "status", "describer", "llm", description="id")
    )
    scores = study.verdicts().select(
        "unit",
        "description",
        "value",
        "ci_low",
        "ci_high",
        "control",
        "n",
        "reader",
        "floor",
        "skill",
        "skill_low",
        "skill_high",
        "q",
        scored="status",
    )
    verdict = (
        pl.when(pl.col("status").fill_null("") != "described")
        .then(pl.lit(NONE))
        .when(pl.col("scored") == VERIFIED)
        .then(pl.lit(VERIFIED))
        .otherwise(pl.lit(NOT_VERIFIED))
    )
    table = (
        study.units.join(descriptions, left_on="id", right_on="unit", how="left")
        .join(scores, left_on=["id", "description"], right_on=["unit", "description"], how="left")
        .with_columns(verdict=verdict, status=pl.col("status").fill_null("no description: none was written"))
        .sort("skill", "layer", "index", "sign", descending=[True, False, False, True], nulls_last=True)
    )
    return UnitVerdicts(table)


def chosen_units(found: UnitVerdicts, first: Collection[str] = ()) -> pl.DataFrame:
    """The units that get a card: `first`, the best-verified, and of the others some from all over."""
    wanted = pl.col("id").is_in(list(first))
    verified = (
        found.verified.with_row_index("_place")
        .filter(wanted | (pl.col("_place") < SHOWN[VERIFIED]))
        .drop("_place")
    )
    unsure = _spread(found.table.filter(verdict=NOT_VERIFIED), SHOWN[NOT_VERIFIED])
    without = found.undescribed.sort("status", "layer", "index", "sign")
    samples, room = [], SHOWN[NONE]
    rarest_first = without["status"].value_counts().sort("count", "status")["status"].to_list()
    for row, reason in enumerate(rarest_first):
        # Every reason gets its share; what a rare one leaves over goes to the others.
        samples.append(_spread(without.filter(status=reason), room // (len(rarest_first) - row)))
        room -= samples[-1].height
    return pl.concat([verified, unsure, *samples])


def _spread(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most that many rows, evenly far apart."""
    if table.height <= most:
        return table
    return table[[row * table.height // most for row in range(most)]]


def unit_section(study: Study, found: UnitVerdicts, most_bytes: int, first: Mapping[str, str]) -> Element:
    """The table with a card per unit; units are left out from its end when they do not fit.

    `first` are the units that the page begins with, and the anchors at which it expects them.
    """
    chosen = chosen_units(found, first)
    evidence = read_evidence(study, chosen)
    others = {
        row["id"]: row
        for row in found.table.select("id", "layer", "index", "sign", "text", "status", "verdict")
        .filter(
            pl.struct("layer", "index").is_in(
                chosen.select(pl.struct("layer", "index")).to_series().implode()
            )
        )
        .iter_rows(named=True)
    }
    anchors = {unit: first.get(unit, f"u{row}") for row, unit in enumerate(chosen["id"])}
    rows = list(chosen.iter_rows(named=True))
    fits = _that_fit(rows, first, most_bytes, lambda row: _unit(row, anchors, others, evidence))
    if len(fits) < len(rows):
        # Links to units that were left out would lead nowhere; without them parts only get smaller.
        anchors = {rows[i]["id"]: anchors[rows[i]["id"]] for i in fits}
        fits = {i: Rendered.of(_unit(rows[i], anchors, others, evidence)) for i in fits}
    bodies = [fits[i] for i in sorted(fits)]
    shown = pl.DataFrame(
        {"verdict": [rows[i]["verdict"] for i in sorted(fits)]}, schema={"verdict": pl.String}
    )
    return el(
        "section",
        {"aria-labelledby": "h-units"},
        el("h2", {"id": "h-units"}, "Units"),
        el("p", {"class": "how"}, _which(found, shown)),
        _filters([rows[i] for i in sorted(fits)]),
        el("p", {"id": "shown", "class": "how", "role": "status", "aria-live": "polite"}, ""),
        el(
            "table",
            {"id": "unit-table", "class": "units"},
            el("caption", {"class": "unseen"}, "Units with description and score, best first"),
            el("thead", None, el("tr", None, *_head())),
            *bodies,
        ),
        el("p", None, el("button", {"id": "more", "type": "button", "hidden": True}, "Show more")),
        needs=("units.css", "units.js", "drawings.css"),
    )


def _that_fit(
    rows: list[dict[str, Any]],
    first: Collection[str],
    most_bytes: int,
    make: Callable[[dict[str, Any]], Part],
) -> dict[int, Rendered]:
    """Rows whose parts fit into so many bytes, by place.

    Those that the page begins with go first, then samples of what failed: they keep it honest.
    """
    fits: dict[int, Rendered] = {}
    order = [(row["id"] not in first, row["verdict"] == VERIFIED) for row in rows]
    for i in sorted(range(len(rows)), key=lambda i: (order[i], i)):
        part = Rendered.of(make(rows[i]))
        if part.size <= most_bytes:
            most_bytes -= part.size
            fits[i] = part
    return fits


def _which(found: UnitVerdicts, shown: pl.DataFrame) -> str:
    parts = []
    for verdict, words in (
        (VERIFIED, "best verified"),
        (NOT_VERIFIED, "not verified"),
        (NONE, "without a description"),
    ):
        have = shown.filter(verdict=verdict).height
        of = found.table.filter(verdict=verdict).height
        if of:
            whole = "all" if have == of else f"{count(have)} of"
            parts.append(f"{whole} {count(of)} {words}")
    return (
        "Here are " + ", ".join(parts) + ". Open a line to see the evidence. The score is F1 on"
        " held-out sentences; the tick is its best floor, what a wrong description or a constant answer"
        " reaches. The order is by skill (F1 less that tick) on the same sentences, so the first lines"
        " owe part of it to luck."
        " The whole tables lie beside this file as Parquet."
    )


_COLUMNS = (
    ("unit", "unit"),
    ("description", "description"),
    ("layer", "layer"),
    ("side", "side"),
    ("score", "F1"),
    ("interval", ""),
    ("skill", "skill"),
    ("verdict", "verdict"),
)


def _head() -> Iterator[Element]:
    for name, title in _COLUMNS:
        yield el("th", {"scope": "col", "class": f"c-{name}", "data-sort": name}, title or "interval")


def _filters(rows: list[dict[str, Any]]) -> Element:
    layers = sorted({row["layer"] for row in rows if row["layer"] is not None})
    return el(
        "div",
        {"class": "filters", "id": "filters", "role": "search", "hidden": True},
        el(
            "label",
            None,
            "Search",
            el(
                "input",
                {"type": "search", "id": "f-search", "placeholder": "a word in descriptions and sentences"},
            ),
        ),
        _choice("verdict", "Verdict", [VERIFIED, NOT_VERIFIED, NONE]),
        _choice("side", "Side", ["high", "low"]),
        _choice("layer", "Layer", [str(layer) for layer in layers]),
    )


def _choice(name: str, title: str, values: list[str]) -> Element:
    options = [el("option", {"value": value}, value) for value in values]
    return el(
        "label",
        None,
        title,
        el("select", {"id": f"f-{name}", "data-filter": name}, el("option", {"value": ""}, "all"), *options),
    )


def _unit(
    row: dict[str, Any], anchors: dict[str, str], others: dict[str, Any], evidence: Evidence
) -> Element:
    unit, verdict = row["id"], row["verdict"]
    side = "high" if row["sign"] > 0 else "low"
    exemplars = evidence.exemplars.get(unit, [])[: EXEMPLARS_SHOWN[verdict]]
    cells = [
        el("th", {"scope": "row", "class": "c-unit"}, said(unit, 60)),
        el(
            "td",
            {"class": "c-description"},
            said(row["text"], 160) if row["text"] else el("em", None, said(why_not(row), 160)),
        ),
        el("td", {"class": "c-layer n"}, str(row["layer"])),
        el("td", {"class": "c-side"}, side),
        el("td", {"class": "c-score n"}, two(row["value"])),
        el(
            "td",
            {"class": "c-interval"},
            score_bar(row["value"], row["ci_low"], row["ci_high"], row["control"]),
        ),
        el("td", {"class": "c-skill n"}, two(row["skill"])),
        el("td", {"class": "c-verdict"}, el("span", {"class": "v v-" + verdict.split()[0]}, verdict)),
    ]
    # An empty key sorts last in both directions; numbers are written in full.
    data = {
        "data-unit": visible(clip(unit, 80)),
        "data-description": visible((row["text"] or "").lower()[:80]),
        "data-layer": str(row["layer"]),
        "data-side": side,
        "data-verdict": verdict,
        "data-index": str(row["index"]),
        "data-score": "" if row["value"] is None else f"{row['value']:.6f}",
        "data-skill": "" if row["skill"] is None else f"{row['skill']:.6f}",
        "data-interval": "" if row["ci_low"] is None else f"{row['ci_low']:.6f}",
    }
    shown = choose_example(
        (
            Example(str(place), one["text"], None, (one["span_start"] or 0, one["span_end"] or 0))
            for place, one in enumerate(exemplars)
        ),
        [row["text"] or ""],
        set(),
    )
    summary = (
        sentence_line(exemplars[int(shown.id)], row, exemplars)
        if shown is not None
        else el("span", {"class": "none"}, "no sentence on which it fires")
    )
    card = el(
        "tr",
        {"class": "card"},
        el(
            "td",
            {"colspan": str(len(_COLUMNS))},
            el(
                "details",
                None,
                el("summary", None, summary),
                unit_card(row, exemplars, anchors, others, evidence),
            ),
        ),
    )
    return el("tbody", {"id": anchors[unit], **data}, el("tr", {"class": "line"}, *cells), card)
