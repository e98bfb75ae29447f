"""The charts of a study as files of their own, with a title and a key."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from pathlib import Path

import altair as alt
import polars as pl

from saywell.errors import InputError
from saywell.report import charts, class_charts
from saywell.report.charts import MEASURED, STYLES, Style, svg
from saywell.report.class_figures import plane_points, transfer_rows, zero_shot_rows
from saywell.report.figures import AXES, POINTS, descriptor_counts, layer_counts, tags_said
from saywell.report.parts import clip, visible
from saywell.report.tables import asked
from saywell.report.units import unit_verdicts
from saywell.store.files import write_whole
from saywell.store.study import Study

FORMATS = (".svg", ".png")
_SCALE = 2  # pixels of a PNG to one of the SVG
_LINE = 18


@dataclass(frozen=True)
class Plot:
    """A chart with its title, and how what it shows is told apart: by `marks`, or by lines."""

    title: str
    chart: alt.Chart
    key: Sequence[tuple[str, Style]] = ()
    marks: bool = False


def plots_of(study: Study) -> dict[str, Callable[[], Plot]]:
    """Every chart that a study has, by name; each is made when it is called for."""
    has = study.manifest.tables
    found: dict[str, Callable[[], Plot]] = {}
    if study.has("metrics.json"):
        found["headline"] = lambda: _headline(study)
    if "curves" in has:
        curves = asked(study, "curves")
        for figure in curves["figure"].unique(maintain_order=True):
            for panel in charts.panels(curves, figure):
                name = ", ".join(part for part in (figure, panel.rule, tags_said(panel.tags)) if part)
                found[name] = lambda panel=panel, name=name: _curve(panel, name)
    if {"units", "descriptions", "scores"} <= set(has):
        found["layers"] = lambda: _layers(study)
    if {"descriptors", "descriptions", "scores"} <= set(has):
        found["descriptors"] = lambda: _descriptors(study)
    if "zero_shot" in has:
        found["zero-shot"] = lambda: Plot(
            "Zero-shot accuracy", class_charts.zero_shot_chart(zero_shot_rows(study))
        )
    if "transfer_summary" in has:
        for selection in asked(study, "transfer_summary")["selection"].unique(maintain_order=True):
            found[f"transfer, {selection}"] = lambda chosen=selection: _transfer(study, chosen)
    if "plane" in has and study.manifest.tables["plane"].rows:
        names = asked(study, "classes")["name"].to_list()
        found["plane"] = lambda: Plot(
            "Texts among images, t-SNE", class_charts.plane_chart(plane_points(study), names)
        )
    return found


def save_plot(study: Study, name: str, path: Path) -> None:
    """Write one chart as SVG or PNG, by the ending of `path`.

    Raises InputError for a chart that the study does not have, or another ending.
    """
    there = plots_of(study)
    if name not in there:
        near = get_close_matches(name, there, n=1, cutoff=0.5) or list(there)[:1]
        raise InputError(
            f"the study has no plot {name!r}; did you mean {near[0]!r}? `saywell plot STUDY` lists"
            f" all {len(there)}"
            if near
            else "the study has no plots yet: it is not finished"
        )
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{str(path)!r} must end in {' or '.join(FORMATS)}")
    drawn = _standing_alone(there[name]())
    if path.suffix.lower() == ".svg":
        write_whole(path, lambda part: part.write_text(drawn, encoding="utf-8"))
        return
    import vl_convert

    write_whole(path, lambda part: part.write_bytes(vl_convert.svg_to_png(drawn, scale=_SCALE)))


def _headline(study: Study) -> Plot:
    metrics = charts.shares(study.headline())
    key = list(charts.styles_of([MEASURED, *charts.others_of(metrics)]).items())
    return Plot("Headline figures with 95 % intervals", charts.headline_chart(metrics), key, True)


def _curve(panel: charts.Panel, title: str) -> Plot:
    names = set(panel.curves["name"])
    x, y = AXES.get(panel.figure, ("x", panel.figure))
    key = [(name, style) for name, style in STYLES.items() if name in names]
    return Plot(title, charts.curve_chart(panel, x=x, y=y, width=460, height=300), key)


def _layers(study: Study) -> Plot:
    counts = layer_counts(unit_verdicts(study)).filter(pl.col("sign").fill_null(1) > 0)
    most = int(counts["described"].max() or 0)  # type: ignore[arg-type]
    return Plot(
        "Units going high with a description (light), verified (full)", charts.layer_chart(counts, most=most)
    )


def _descriptors(study: Study) -> Plot:
    counts = descriptor_counts(study, unit_verdicts(study)).head(30)
    longest = int(counts["text"].str.len_chars().max() or 0)  # type: ignore[arg-type]
    most = int(counts["described"].max() or 0)  # type: ignore[arg-type]
    return Plot(
        "Units described by each descriptor (light), verified (full)",
        charts.descriptor_chart(counts, most=most, longest=longest),
    )


def _transfer(study: Study, selection: str) -> Plot:
    rows, names = transfer_rows(study)
    chosen = rows.filter(selection=selection)
    drawn = zip(names, itertools.cycle(class_charts.LINES), strict=False)
    key = [(name, Style(colour, tuple(dash) if dash[1] else ())) for name, (colour, dash) in drawn]
    return Plot(f"Transfer accuracy, selection: {selection}", class_charts.transfer_chart(chosen, names), key)


def _standing_alone(plot: Plot) -> str:
    """The chart under its title and above its key, on white, in ink that needs no page."""
    inner = svg(plot.chart)
    size = re.search(r'<svg[^>]*?\bwidth="([\d.]+)"[^>]*?\bheight="([\d.]+)"', inner)
    assert size is not None, "vl-convert writes the size of every SVG"
    width, height = float(size[1]), float(size[2])
    top = 30
    total = top + height + _LINE * len(plot.key) + (10 if plot.key else 0)
    wide = max(width, 420)
    title = escape(visible(clip(plot.title, 120)))
    lines = []
    for row, (name, style) in enumerate(plot.key):
        y = top + height + 14 + _LINE * row
        dash = f' stroke-dasharray="{",".join(map(str, style.dash))}"' if style.dash else ""
        sample = f'<path d="M14 {y}h26" fill="none" stroke="{style.colour}" stroke-width="2"{dash}/>'
        if plot.marks:
            inside = style.colour if name == MEASURED else "none"
            sample = (
                f'<path transform="translate(19 {y - 8})" d="{POINTS[style.shape]}"'
                f' fill="{inside}" stroke="{style.colour}" stroke-width="1.6"/>'
            )
        lines.append(
            f'{sample}<text x="48" y="{y + 4}" font-size="11">{escape(visible(clip(name, 80)))}</text>'
        )
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{total:g}"'
        f' viewBox="0 0 {wide:g} {total:g}" font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="10" y="20" font-size="13" font-weight="600">{title}</text>'
        f'<g transform="translate(0 {top})">{inner}</g>{"".join(lines)}</svg>'
    )
    return whole.replace("currentColor", "#1b1b1b")
