"""Charts as SVG. Colours are Okabe and Ito's, which survive colour blindness and print.

Ink is `currentColor`, so a chart takes the colour of the text around it, light or dark. Who is
drawn how does not depend on the chart: see `STYLES`. Every estimate is drawn with its interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from saywell.report.parts import clip, visible
from saywell.store.study import Metric

INK = "currentColor"
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
MEASURED = "measured"


@dataclass(frozen=True)
class Style:
    """How one line or mark is drawn: colour, dash pattern, shape of its points."""

    colour: str
    dash: tuple[float, ...] = ()
    shape: str = "circle"
    role: str = "control"


STYLES = {
    MEASURED: Style(BLUE, role="measured"),
    "most frequent": Style(ORANGE, (7, 3), "triangle-down"),
    "shuffled exemplars": Style(VERMILLION, (3, 2.5), "cross"),
    "another neuron": Style(VERMILLION, (3, 2.5), "triangle-left"),
    "random weights": Style(PURPLE, (1.5, 2.5), "square"),
    "linear probe": Style(GREEN, (10, 2), "diamond", "reference"),
    "images only, all training images": Style(GREEN, (10, 2), "diamond", "reference"),
    "best possible": Style(INK, (9, 2, 2, 2), "triangle-up", "bound"),
}
WINE, OLIVE = "#882255", "#7F7F00"
_SHAPES = ("triangle-right", "diamond", "square", "cross", "triangle-down", "triangle-left", "triangle-up")
_HUES = (VERMILLION, ORANGE, PURPLE, GREEN, SKY, WINE, OLIVE)
_DASHES = ((4, 4), (2, 2), (8, 3), (6, 2, 2, 2), (1, 3), (10, 4), (3, 6))


def styles_of(names: Sequence[str]) -> dict[str, Style]:
    """How each of these is drawn, so that no two of them look alike.

    Shape and hue change together, so neither alone has to be seen; the first seven that nobody
    foresaw differ in both, and 49 in one.
    """
    taken = {(STYLES[name].colour, STYLES[name].shape) for name in names if name in STYLES}
    free = (
        Style(_HUES[(n + n // 7) % 7], _DASHES[n % 7], _SHAPES[n % 7])
        for n in range(49)
        if (_HUES[(n + n // 7) % 7], _SHAPES[n % 7]) not in taken
    )
    last = Style(INK, (4, 4), "circle")
    return {name: STYLES[name] if name in STYLES else next(free, last) for name in names}


def others_of(metrics: Sequence[Metric]) -> list[str]:
    """Names of all that figures stand beside, those that every study knows first."""
    names = dict.fromkeys(
        name
        for m in metrics
        for name, value in {**m.controls, **m.reference, **m.ceiling}.items()
        if value is not None
    )
    known = list(STYLES)
    return sorted(names, key=lambda name: known.index(name) if name in STYLES else len(known))


@dataclass(frozen=True)
class Panel:
    """One rule's curve of a figure, with the controls, references and bounds that belong to it."""

    figure: str
    rule: str
    """In words, such as "enrichment, calibrated"."""
    tags: str
    """Whose tags are the truth: "all", or "lexical"."""
    curves: pl.DataFrame
    """Rows of table `curves` with `name`: "measured", or the name of what it stands beside."""


def panels(curves: pl.DataFrame, figure: str) -> list[Panel]:
    """Table `curves` split so that each rule stands among its own controls and references."""
    table = curves.filter(figure=figure)
    own = ["rule", "calibrated", "tags"]
    found = []
    for rule, calibrated, tags in (
        table.filter(control="").select(own).unique(maintain_order=True).iter_rows()
    ):
        mine = (pl.col("rule") == rule) & (pl.col("calibrated") == calibrated)
        every = (pl.col("rule") == "") & pl.col("control").is_in(list(STYLES))
        rows = table.filter(mine | every, tags=tags).with_columns(
            name=pl.when(pl.col("control") == "").then(pl.lit(MEASURED)).otherwise("control")
        )
        found.append(Panel(figure, rule_name(rule, calibrated), tags, rows))
    return found


def rule_name(rule: str, calibrated: bool) -> str:
    """A rule in words."""
    return f"{rule}, calibrated" if calibrated else rule


def curve_chart(panel: Panel, *, x: str, y: str, width: int = 270, height: int = 180) -> alt.Chart:
    """Lines with their bands over `x`. `x` and `y` are the axes' titles, from 0 to 1 upwards."""
    rows = panel.curves.drop_nulls("value").select("name", "x", "value", "ci_low", "ci_high")
    names = [name for name in STYLES if name in rows["name"].unique()]
    counted = bool((rows["x"] == rows["x"].round()).all()) and rows.height > 0
    across = (
        alt.X("x:Q")
        .title(x)
        .axis(
            values=sorted(rows["x"].unique()) if counted else alt.Undefined, format="d" if counted else ".1f"
        )
    )
    base = alt.Chart(data(rows)).encode(
        x=across.scale(zero=False, nice=False) if counted else across.scale(domain=[0, 1]),
        color=alt.Color("name:N").scale(domain=names, range=[STYLES[n].colour for n in names]).legend(None),
    )
    up = alt.Scale(domain=[0, 1])
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("ci_low:Q").scale(up).title(y), y2="ci_high:Q", detail="name:N"
    )
    line = base.mark_line(strokeWidth=1.6).encode(
        y=alt.Y("value:Q").scale(up).title(y),
        strokeDash=alt.StrokeDash("name:N")
        .scale(domain=names, range=[list(STYLES[n].dash) or [1, 0] for n in names])
        .legend(None),
    )
    dots = (
        base.transform_filter(alt.datum.name == MEASURED)
        .mark_point(filled=True, size=26, opacity=1)
        .encode(y=alt.Y("value:Q").scale(up).title(y))
    )
    return dressed(alt.layer(band, line, dots), width, height)


def headline_chart(metrics: Sequence[Metric], *, narrow: bool = False) -> alt.Chart:
    """Every figure with its interval and all that it stands beside, on one axis.

    Figures without a value are left out. `narrow` writes the names above the rows for phones.
    """
    shown = [metric for metric in metrics if metric.value is not None]
    names = apart([clip(visible(metric.name), 46 if narrow else 60) for metric in shown])
    rows: list[dict[str, Any]] = []
    for name, metric in zip(names, shown, strict=True):
        others = {**metric.controls, **metric.reference, **metric.ceiling}
        rows.append(
            {
                "metric": name,
                "name": MEASURED,
                "value": metric.value,
                "ci_low": metric.ci_low,
                "ci_high": metric.ci_high,
            }
        )
        rows += [
            {"metric": name, "name": other, "value": value, "ci_low": None, "ci_high": None}
            for other, value in others.items()
            if value is not None
        ]
    kinds = [MEASURED, *others_of(shown)]
    top = max([1.0, *(row["value"] for row in rows)])
    low = min([0.0, *(row["value"] for row in rows)])
    styles = list(styles_of(kinds).values())
    up = (
        alt.Y("metric:N")
        .sort(names)
        .title(None)
        .axis(
            labels=not narrow,
            labelLimit=0,
            ticks=False,
            domain=False,
            labelPadding=14,
            minExtent=0 if narrow else extent(names),
        )
    )
    across = (
        alt.X("value:Q")
        .scale(domain=[low, top])
        .title("share, or difference of shares")
        .axis(format=".1f", tickCount=10)
    )
    base = alt.Chart(data(pl.DataFrame(rows, infer_schema_length=None))).encode(y=up)
    colour = (
        alt.Color("name:N").title(None).scale(domain=kinds, range=[s.colour for s in styles]).legend(None)
    )
    measured = base.transform_filter(alt.datum.name == MEASURED)
    track = measured.mark_rule(color=INK, opacity=0.12).encode(x=alt.datum(low), x2=alt.datum(top))
    interval = measured.mark_rule(strokeWidth=7, opacity=0.32, strokeCap="round").encode(
        x=alt.X("ci_low:Q").title("share, or difference of shares").axis(format=".1f", tickCount=10),
        x2="ci_high:Q",
        color=colour,
    )
    others = base.transform_filter(alt.datum.name != MEASURED).mark_point(
        size=48, strokeWidth=1.6, opacity=0.95
    )
    shape = alt.Shape("name:N").scale(domain=kinds, range=[s.shape for s in styles]).legend(None)
    points = others.encode(x=across, color=colour, shape=shape)
    value = measured.mark_point(size=70, filled=True, opacity=1).encode(x=across, color=colour)
    layers: list[Any] = [track, interval, points, value]
    if narrow:
        layers.append(
            measured.mark_text(align="left", dy=-13, fontSize=11, color=INK).encode(
                x=alt.datum(low), text="metric:N"
            )
        )
    step = 40 if narrow else 27
    return dressed(alt.layer(*layers), 325 if narrow else 640, max(1, len(shown)) * step)


def layer_chart(counts: pl.DataFrame, *, most: int, width: int = 390) -> alt.Chart:
    """Units per layer with a description, and in the same bar those that were verified.

    `counts` has layer, described, verified; `most` is the top of the axis, so panels compare.
    """
    base = alt.Chart(data(counts)).encode(x=alt.X("layer:O").title("layer").axis(labelAngle=0))
    scale = alt.Scale(domain=[0, max(1, most)], nice=True)
    described = base.mark_bar(color=BLUE, opacity=0.28).encode(
        y=alt.Y("described:Q").scale(scale).title("units")
    )
    verified = base.mark_bar(color=BLUE, opacity=1).encode(y=alt.Y("verified:Q").scale(scale).title("units"))
    return dressed(alt.layer(described, verified), width, 150)


def density_chart(counts: pl.DataFrame, *, width: int = 390) -> alt.Chart:
    """Units by how often they fire, and in the same bar those that were verified.

    `counts` has low and high (the ends of a step, above 0), units, verified.
    """
    ends = [float(counts["low"].min()), float(counts["high"].max())]  # type: ignore[arg-type]
    across = (
        alt.X("low:Q")
        .scale(type="log", domain=ends, nice=False)
        .title("share of all tokens at which a unit fires")
        .axis(format="~g", values=[10.0**power for power in range(-9, 1)], grid=False)
    )
    base = alt.Chart(data(counts)).encode(x=across, x2="high:Q", y2=alt.datum(0))
    every = base.mark_bar(color=BLUE, opacity=0.28).encode(y=alt.Y("units:Q").title("units"))
    verified = base.mark_bar(color=BLUE, opacity=1).encode(y=alt.Y("verified:Q").title("units"))
    return dressed(alt.layer(every, verified), width, 150)


def shares(metrics: Sequence[Metric]) -> list[Metric]:
    """The figures that fit on an axis of shares; counts of something do not."""

    def numbers(m: Metric) -> list[float | None]:
        return [m.value, *m.controls.values(), *m.reference.values(), *m.ceiling.values()]

    return [m for m in metrics if all(value is None or abs(value) <= 1 for value in numbers(m))]


def descriptor_chart(counts: pl.DataFrame, *, most: int, longest: int = 0, width: int = 430) -> alt.Chart:
    """Units per descriptor; `counts` has text, described, verified, and is drawn in its order.

    `most` is the end of the axis and `longest` the longest name in characters, so panels compare.
    """
    names = apart([clip(visible(text), 28) for text in counts["text"]])
    room = extent([*names, "x" * min(28, longest)])
    shown = counts.with_columns(text=pl.Series(names, dtype=pl.String))
    base = alt.Chart(data(shown)).encode(
        y=alt.Y("text:N")
        .sort(names)
        .title(None)
        .axis(ticks=False, domain=False, labelLimit=0, labelPadding=6, minExtent=room)
    )
    scale = alt.Scale(domain=[0, max(1, most)], nice=True)
    described = base.mark_bar(color=BLUE, opacity=0.28, height=11).encode(
        x=alt.X("described:Q").scale(scale).title("units").axis(tickMinStep=1)
    )
    verified = base.mark_bar(color=BLUE, opacity=1, height=11).encode(
        x=alt.X("verified:Q").scale(scale).title("units").axis(tickMinStep=1)
    )
    return dressed(alt.layer(described, verified), width - int(room), 17 * counts.height)


def svg(chart: alt.Chart) -> str:
    """The chart as an SVG document of its own. No network, no script."""
    import vl_convert

    return vl_convert.vegalite_to_svg(chart.to_dict(validate=False), allowed_base_urls=[])


def extent(names: Sequence[str]) -> float:
    """Room for labels in pixels. Who draws the page has other fonts than who laid it out."""
    return 14 + 6.6 * max(map(len, names), default=0)


def apart(names: list[str]) -> list[str]:
    """Names with a number behind those that were there before, so that each has its own row."""
    seen: Counter[str] = Counter()
    apart = []
    for name in names:
        seen[name] += 1
        apart.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return apart


def data(table: pl.DataFrame) -> alt.Data:
    """Rows inside the chart itself."""
    return alt.Data(values=table.to_dicts())  # type: ignore[call-arg]


def dressed(chart: Any, width: int, height: int) -> alt.Chart:
    """No frame, thin lines, ink that follows the page."""
    soft = {"titleFontWeight": "normal", "titleOpacity": 0.75, "labelOpacity": 0.75}
    return (
        chart.properties(width=width, height=height, background="transparent", padding=4)
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            gridColor=INK,
            gridOpacity=0.1,
            domainColor=INK,
            domainOpacity=0.4,
            tickColor=INK,
            tickOpacity=0.4,
            labelFontSize=11,
            titleFontSize=11,
            titlePadding=6,
            **soft,
        )
    )
