"""The figures of a study of neurons, each with its numbers in a folded table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from saywell.report.charts import (
    MEASURED,
    STYLES,
    Panel,
    Style,
    curve_chart,
    descriptor_chart,
    layer_chart,
    panels,
    rule_name,
    styles_of,
    svg,
)
from saywell.report.formats import count, interval, two
from saywell.report.parts import Drawing, Element, Part, clip, el, said
from saywell.report.tables import asked
from saywell.report.unit_cards import score_bar
from saywell.report.units import UnitVerdicts
from saywell.store.study import Study

MOST_DESCRIPTORS = 30
MOST_GOLD = 200
_OPEN_GOLD = 12

AXES = {
    "precision@k": ("k, descriptors named", "precision@k"),
    "recall@k": ("k, descriptors named", "recall@k"),
    "precision against threshold": ("composition threshold", "precision"),
    "recall against threshold": ("composition threshold", "recall"),
}
_ABOUT = {
    "precision@k": "Of the k descriptors that the firing neurons vote for, the share that the"
    " sentence carries.",
    "recall@k": "Of the descriptors that a sentence carries, the share among those k.",
    "precision against threshold": "Of the descriptors a neuron is given at a threshold, the share"
    " carried by held-out sentences on which it fires.",
    "recall against threshold": "Of the descriptors such a sentence carries, the share that the"
    " neuron was given.",
}
_TOGETHER = {
    "precision against threshold": "precision and recall against the threshold",
    "recall against threshold": "precision and recall against the threshold",
}
POINTS = {
    "circle": "M8 4.5a3.5 3.5 0 1 0 .01 0z",
    "triangle-down": "M4 5h8l-4 6.5z",
    "triangle-up": "M4 11h8L8 4.5z",
    "cross": "M6.7 4h2.6v2.7H12v2.6H9.3V12H6.7V9.3H4V6.7h2.7z",
    "square": "M5 5h6v6H5z",
    "diamond": "M8 3.5L12 8l-4 4.5L4 8z",
    "triangle-right": "M5 4l6.5 4L5 12z",
    "triangle-left": "M11 4L4.5 8l6.5 4z",
}


def curve_figures(curves: pl.DataFrame | None) -> Element | None:
    """precision@k, recall@k and the curves against the threshold, with bands and controls."""
    if curves is None or curves.is_empty():
        return None
    order = [figure for figure in _ABOUT if figure in curves["figure"]]
    order += [f for f in curves["figure"].unique(maintain_order=True) if f not in order]
    groups: dict[tuple[str, str], list[Panel]] = {}
    for figure in order:
        for panel in panels(curves, figure):
            # Panels that share an axis and a legend stand side by side.
            heading = _TOGETHER.get(figure, figure)
            groups.setdefault((heading, panel.tags), []).append(panel)
    blocks = [_figure(heading, tags, chosen) for (heading, tags), chosen in groups.items()]
    return el(
        "section",
        {"aria-labelledby": "h-figures"},
        el("h2", {"id": "h-figures"}, "How far the descriptors hold"),
        *blocks,
    )


def _figure(heading: str, tags: str, chosen: Sequence[Panel]) -> Element:
    names = {name for panel in chosen for name in panel.curves["name"].unique()}
    figures = list(dict.fromkeys(panel.figure for panel in chosen))
    x = AXES.get(figures[0], ("x", ""))[0]
    drawn = []
    for panel in chosen:
        across, up = AXES.get(panel.figure, ("x", panel.figure))
        chart = svg(curve_chart(panel, x=across, y=up))
        label = f"{panel.figure} of {panel.rule}, from 0 to 1, with bands and controls"
        name = panel.rule if len(figures) == 1 else f"{up}, {panel.rule}"
        drawn.append(el("div", {"class": "panel"}, el("h4", None, said(name, 60)), Drawing(chart, label)))
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(_curve_name(row, figures), 80)),
            el("td", {"class": "n"}, f"{row['x']:g}"),
            el("td", {"class": "n"}, two(row["value"])),
            el("td", {"class": "n"}, interval(row["ci_low"], row["ci_high"])),
            el("td", {"class": "n"}, count(row["n"])),
        )
        for row in pl.concat([panel.curves for panel in chosen])
        .unique(["figure", *_LINE, "x"], keep="first", maintain_order=True)
        .iter_rows(named=True)
    ]
    return el(
        "div",
        {"class": "figure"},
        el("h3", None, said(heading, 60), *([" · ", said(tags_said(tags), 40)] if tags_said(tags) else [])),
        *(el("p", {"class": "how"}, _ABOUT.get(figure, "")) for figure in figures),
        key([name for name in STYLES if name in names]),
        el("div", {"class": "panels"}, *drawn),
        folded_table("Numbers", ("curve", x.split(",")[0], "value", "95 % interval", "n"), rows),
    )


def tags_said(tags: str) -> str:
    """Whose tags a figure goes by, in words; empty where they are those of the study."""
    return "" if tags == "all" else f"{tags} tags"


_LINE = ("rule", "calibrated", "tags", "control")
"""Columns of table `curves` that tell one curve from others of its figure."""


def _curve_name(row: dict[str, Any], figures: Sequence[str]) -> str:
    figure = "" if len(figures) == 1 else row["figure"]
    return ", ".join(filter(None, (figure, rule_name(row["rule"], row["calibrated"]), row["control"])))


def key(names: Sequence[str], *, points: bool = False) -> Element:
    """What the lines (or, with `points`, the marks) of a chart stand for."""
    items = []
    for name, style in styles_of(names).items():
        width = "2.5" if name == MEASURED else "1.6"
        path = {"d": POINTS[style.shape], "fill": "none", "stroke": style.colour}
        if name == MEASURED:
            path["fill"] = style.colour
        if not points:
            path = {
                "d": "M1 8h26",
                "stroke": style.colour,
                "stroke-width": width,
                "fill": "none",
                "stroke-dasharray": " ".join(map(str, style.dash)) or "none",
            }
        box = {"viewBox": f"0 0 {16 if points else 28} 16", "class": "swatch", "aria-hidden": "true"}
        role = f" ({style.role})" if style.role in ("reference", "bound") else ""
        items.append(el("li", None, el("svg", box, el("path", path)), said(name, 60), role))
    return el("ul", {"class": "key"}, *items, needs=("drawings.css",))


def marks_key(styles: Mapping[str, Style]) -> Element:
    """What the marks of a chart stand for."""
    box = {"viewBox": "0 0 16 16", "class": "swatch", "aria-hidden": "true"}
    items = []
    for name, style in styles.items():
        path = {"d": POINTS[style.shape], "fill": "none", "stroke": style.colour}
        items.append(el("li", None, el("svg", box, el("path", path)), said(name, 60)))
    return el("ul", {"class": "key"}, *items, needs=("drawings.css",))


def folded_table(title: str, head: Sequence[str], rows: Sequence[Part]) -> Element:
    """The numbers behind a picture, for who cannot see it or wants to copy them."""
    return el(
        "details",
        {"class": "numbers"},
        el("summary", None, title),
        el(
            "div",
            {"class": "scroll", "tabindex": "0"},
            el(
                "table",
                None,
                el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, h) for h in head))),
                el("tbody", None, *rows),
            ),
        ),
    )


def layer_counts(found: UnitVerdicts) -> pl.DataFrame:
    """Units by side and layer: all of them, those with a description, those verified."""
    return (
        found.table.group_by("sign", "layer")
        .agg(
            units=pl.len(),
            described=(pl.col("status") == "described").sum(),
            verified=(pl.col("verdict") == "verified").sum(),
        )
        .sort("sign", "layer", descending=[True, False])
    )


def descriptor_counts(study: Study, found: UnitVerdicts) -> pl.DataFrame:
    """Units described by each descriptor, and those verified; the most frequent first."""
    names = asked(study, "descriptors").select(descriptor="id", text="text")
    return (
        found.described.select("descriptors", "verdict")
        .explode("descriptors")
        .drop_nulls("descriptors")
        .group_by(descriptor="descriptors")
        .agg(described=pl.len(), verified=(pl.col("verdict") == "verified").sum())
        .join(names, on="descriptor")
        .sort("described", "text", descending=[True, False])
    )


def layer_figure(found: UnitVerdicts | None) -> Element | None:
    """How many units of each layer have a description, and how many were verified, by side."""
    if found is None or found.table["layer"].null_count() == found.table.height:
        return None
    counts = layer_counts(found)
    if counts.height < 2:
        return None
    most = int(counts["described"].max() or 0)  # type: ignore[arg-type]
    drawn = []
    for sign in counts["sign"].unique(maintain_order=True):
        side = counts.filter(pl.col("sign").eq_missing(sign))
        name = _side(sign)
        label = f"{name}: " + "; ".join(
            f"layer {r['layer']} {r['described']} described, {r['verified']} verified"
            for r in side.iter_rows(named=True)
        )
        drawn.append(
            el(
                "div",
                {"class": "panel"},
                el("h3", {"class": "small"}, name),
                Drawing(svg(layer_chart(side, most=most)), label),
            )
        )
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, str(r["layer"])),
            el("td", None, _side(r["sign"])),
            *(el("td", {"class": "n"}, count(r[c])) for c in ("units", "described", "verified")),
        )
        for r in counts.iter_rows(named=True)
    ]
    return el(
        "section",
        {"aria-labelledby": "h-layers"},
        el("h2", {"id": "h-layers"}, "Layer by layer"),
        el(
            "p",
            {"class": "how"},
            "Units with a description (light), and verified among them"
            " (full). Verified: on held-out examples its F1 lies above that of every floor, its"
            " interval and a false discovery rate of 5 % over all units considered.",
        ),
        el("div", {"class": "panels two"}, *drawn),
        folded_table("Numbers", ("layer", "side", "units", "described", "verified"), rows),
    )


def descriptor_figure(study: Study, found: UnitVerdicts | None) -> Element | None:
    """How many units are described by each descriptor."""
    if found is None or found.described.is_empty() or "descriptors" not in study.manifest.tables:
        return None
    counts = descriptor_counts(study, found)
    shown = counts.head(MOST_DESCRIPTORS)
    # A handful of bars stands better in one column than split over two.
    half = shown.height if shown.height < 9 else (shown.height + 1) // 2
    longest = int(shown["text"].str.len_chars().max() or 0)  # type: ignore[arg-type]
    most = int(counts["described"].max() or 0)  # type: ignore[arg-type]
    drawn = []
    for part in (shown.head(half), shown.slice(half)):
        if part.is_empty():
            continue
        label = "; ".join(f"{clip(r['text'], 40)} {r['described']}" for r in part.iter_rows(named=True))
        drawn.append(
            el(
                "div",
                {"class": "panel"},
                Drawing(svg(descriptor_chart(part, most=most, longest=longest)), label),
            )
        )
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(r["text"], 80)),
            el("td", {"class": "n"}, count(r["described"])),
            el("td", {"class": "n"}, count(r["verified"])),
        )
        for r in counts.head(MOST_GOLD).iter_rows(named=True)
    ]
    return el(
        "section",
        {"aria-labelledby": "h-descriptors"},
        el("h2", {"id": "h-descriptors"}, "Descriptors"),
        el(
            "p",
            {"class": "how"},
            f"Units described by each descriptor (light), and verified among them (full)."
            f" The {shown.height} most frequent of {counts.height}.",
        ),
        el("div", {"class": "panels two"}, *drawn),
        folded_table("Numbers", ("descriptor", "units", "verified"), rows),
    )


def recovered_section(study: Study) -> Element | None:
    """Gold descriptors: found or not, and how closely."""
    table = asked(study, "recovered").sort(
        "found", "value", "gold", descending=[True, True, False], nulls_last=True
    )
    if table.is_empty():
        return None
    rows = [
        el(
            "tr",
            None,
            el("td", {"class": "mark"}, "found" if r["found"] else "not found"),
            el("th", {"scope": "row"}, said(r["gold"], 60)),
            el("td", None, said(r["text"] or "–", 60)),
            el("td", {"class": "bar"}, score_bar(r["value"], r["ci_low"], r["ci_high"], r["control"])),
            el("td", {"class": "n"}, two(r["value"])),
            el("td", {"class": "n"}, interval(r["ci_low"], r["ci_high"])),
            el("td", {"class": "n"}, two(r["control"])),
            el("td", {"class": "n"}, count(r["n"] or 0)),
            el("td", {"class": "n"}, count(r["units"] or 0)),
        )
        for r in table.head(MOST_GOLD).iter_rows(named=True)
    ]
    by = table.filter(found=True)["descriptor"].n_unique()
    head = (
        "",
        "gold descriptor",
        "closest found",
        "F1",
        "",
        "95 % interval",
        "control",
        "sentences",
        "units",
    )

    def table_of(rows: Sequence[Part]) -> Element:
        return el(
            "div",
            {"class": "scroll", "tabindex": "0"},
            el(
                "table",
                {"class": "gold"},
                el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, h) for h in head))),
                el("tbody", None, *rows),
            ),
        )

    return el(
        "section",
        {"aria-labelledby": "h-gold"},
        el("h2", {"id": "h-gold"}, "Gold descriptors"),
        el(
            "p",
            {"class": "how"},
            f"{count(table.filter(found=True).height)} of {count(table.height)} found, by"
            f" {count(by)} different descriptors. The study never saw them. The closest descriptor"
            " was chosen on describe sentences; F1 is on held-out ones, and found means that its"
            " interval lies above the control, which calls the gold descriptor on every sentence.",
        ),
        table_of(rows[:_OPEN_GOLD]),
        *(
            [
                el(
                    "details",
                    {"class": "numbers"},
                    el("summary", None, f"and {count(len(rows) - _OPEN_GOLD)} more"),
                    table_of(rows[_OPEN_GOLD:]),
                )
            ]
            if len(rows) > _OPEN_GOLD
            else []
        ),
    )


def _side(sign: int | None) -> str:
    if sign is None:
        return "units"
    return "going high" if sign > 0 else "going low"
