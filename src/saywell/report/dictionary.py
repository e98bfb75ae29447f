"""What a page says of a dictionary: how it fits, how often latents fire, how they stand to one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from saywell.report.charts import density_chart, svg
from saywell.report.figures import folded_table
from saywell.report.formats import count, interval, joined, percent, two
from saywell.report.latents import RELATIONS
from saywell.report.parts import Drawing, Element, Part, el, said
from saywell.report.tables import asked, selected_descriptions
from saywell.report.units import UnitVerdicts
from saywell.store.study import Study

_MOST_PAIRS = 10
_STEPS = 2
"""Steps of the chart of densities in a power of ten."""


def fit_section(study: Study) -> Element:
    """How far a dictionary goes with the vectors of the study's examples."""
    rows = asked(study, "fit")
    lines = [
        f"{row['dictionary']} ({row['format']}, {count(row['latents'])} latents) explains a share of"
        f" {two(row['explained'])} ({interval(row['explained_low'], row['explained_high'])}) of the variance"
        f" of {count(row['vectors'])} vectors of select examples"
        + _turned(row, "explained_turned", ".2f")
        + f". For one vector {row['active']:.4g} latents are active in the mean"
        + _turned(row, "active_turned", ".4g")
        + "."
        for row in rows.iter_rows(named=True)
    ]
    how = (
        "Turned by chance: vectors with the same mean and covariance whose directions mean nothing. A"
        " dictionary that explains these as well has learned the spread of the vectors and no more."
    )
    return el(
        "section",
        {"aria-labelledby": "h-fit"},
        el("h2", {"id": "h-fit"}, "The dictionary"),
        *(el("p", None, said(line, 600)) for line in lines),
        el("p", {"class": "how"}, how),
    )


def _turned(row: Mapping[str, object], name: str, form: str) -> str:
    return "" if row[name] is None else f" (turned by chance: {row[name]:{form}})"


def density_counts(study: Study, found: UnitVerdicts) -> pl.DataFrame:
    """low, high (of the density, ends of a step), units, described, verified; of units that ever fire."""
    own = asked(study, "density").select(id="unit", density="density")
    known = found.table.select("id", "status", "verdict").join(own, on="id").filter(pl.col("density") > 0)
    step = (pl.col("density").log10() * _STEPS).floor()
    return (
        known.group_by(step=step)
        .agg(
            units=pl.len(),
            described=(pl.col("status") == "described").sum(),
            verified=(pl.col("verdict") == "verified").sum(),
        )
        .sort("step")
        .select(
            *("units", "described", "verified"),
            low=10 ** (pl.col("step") / _STEPS),
            high=10 ** ((pl.col("step") + 1) / _STEPS),
        )
    )


def density_figure(study: Study, found: UnitVerdicts) -> Element | None:
    """How often latents fire, and which of them are verified."""
    counts = density_counts(study, found)
    silent = found.table.height - int(counts["units"].sum())
    if counts.is_empty():
        return None
    head = ("share of tokens", "units", "described", "verified")
    cells = [
        (f"{row['low']:.2g} to {row['high']:.2g}", *(count(row[name]) for name in head[1:]))
        for row in counts.iter_rows(named=True)
    ]
    label = "; ".join(f"{at}: {units} units, {verified} verified" for at, units, _, verified in cells)
    dead = f" {count(silent)} of {count(found.table.height)} fire at none of them." if silent else ""
    return el(
        "section",
        {"aria-labelledby": "h-density"},
        el("h2", {"id": "h-density"}, "How often they fire"),
        el(
            "p",
            {"class": "how"},
            "Units by their density, the share of all tokens at which they fire (light), and verified among"
            f" them (full).{dead}",
        ),
        el(
            "div",
            {"class": "panels two"},
            el("div", {"class": "panel"}, Drawing(svg(density_chart(counts)), f"Units by density. {label}")),
        ),
        folded_table("Numbers", head, [_line(row) for row in cells]),
    )


def _line(cells: Sequence[Part | str]) -> Element:
    first, *rest = cells
    return el("tr", None, el("th", {"scope": "row"}, first), *(el("td", {"class": "n"}, one) for one in rest))


def relation_section(study: Study) -> Element | None:
    """Which latents are nearly the same, which split another, and whose place others take."""
    parts = [*_relations(study), *_absorption(study)]
    if not parts:
        return None
    title = el("h2", {"id": "h-relations"}, "How latents stand to one another")
    return el("section", {"aria-labelledby": "h-relations"}, title, *parts)


def _relations(study: Study) -> Iterator[Element]:
    has = study.manifest.tables
    if "relations" not in has:
        return
    table = asked(study, "relations")
    units = dict(table.group_by("relation").agg(pl.col("unit").n_unique()).iter_rows())
    words = {
        "duplicate": "have a near duplicate",
        "part": "are split by others",
        "whole": "are a part of another",
    }
    told = [f"{count(units.get(relation, 0))} {words[relation]}" for relation in RELATIONS]
    yield el("p", None, f"Of the units, {joined(told)}.")
    if "compared" in has:
        known = ", ".join(f"{what} {_number(value)}" for what, value in asked(study, "compared").iter_rows())
        yield el("p", {"class": "how"}, said(f"What was compared, and the most by chance: {known}.", 600))
    said_of = dict(selected_descriptions(study, "text").iter_rows()) if "descriptions" in has else {}
    for relation, head in (
        (
            "duplicate",
            ("unit", "near duplicate", "of its tokens", "of the other's", "cosine", "descriptions"),
        ),
        ("part", ("unit", "split by", "of its tokens", "of the other's", "cosine", "descriptions")),
    ):
        rows = table.filter(relation=relation)
        if relation == "duplicate":  # a pair stands there twice
            rows = rows.filter(pl.col("unit") < pl.col("other"))
        shown = rows.sort("cosine", "unit", "other", descending=[True, False, False]).head(_MOST_PAIRS)
        if shown.is_empty():
            continue
        lines = []
        for row in shown.iter_rows(named=True):
            both = said(" / ".join(said_of.get(row[name]) or "–" for name in ("unit", "other")), 200)
            shares = (two(row[name]) for name in ("covers", "inside", "cosine"))
            lines.append(_line([said(row["unit"], 60), said(row["other"], 60), *shares, both]))
        title = {"duplicate": "Near duplicates", "part": "Split latents"}[relation]
        yield folded_table(f"{title}: {count(shown.height)} of {count(rows.height)} pairs", head, lines)


def _number(value: float) -> str:
    return count(int(value)) if value == int(value) else two(value)


def _absorption(study: Study) -> Iterator[Element]:
    if "absorption" not in study.manifest.tables:
        return
    table = asked(study, "absorption").filter("tested")
    if table.is_empty():
        if "text" in study.examples.columns:  # of pictures there is none
            yield el(
                "p", {"class": "how"}, "Absorption was not measured: no latent stands for a first letter."
            )
        return
    told, absorbed, chance = (
        int(np.sum(table[name].to_numpy())) for name in ("told", "absorbed", "by_chance")
    )
    yield el(
        "p",
        None,
        f"First letters: at {percent(absorbed, told)} of {count(told)} tokens whose letter a probe tells, the"
        f" letter's latents are silent and another fires in their place (by chance {percent(chance, told)}).",
    )
    lines = [
        _line(
            [
                row["letter"],
                said(", ".join(row["main"]), 200),
                two(row["f1"]),
                *(count(row[name]) for name in ("told", "missed", "absorbed", "by_chance")),
            ]
        )
        for row in table.iter_rows(named=True)
    ]
    head = ("letter", "its latents", "F1", "tokens", "missed", "absorbed", "by chance")
    yield folded_table("Letter by letter", head, lines)
