"""Charts of a study of classes, as SVG; see `charts` for how they are dressed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from saywell.report.charts import (
    BLUE,
    GREEN,
    INK,
    OLIVE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WINE,
    Style,
    apart,
    data,
    dressed,
    extent,
)
from saywell.report.parts import clip, visible
from saywell.store.table import Table

PLANE = Table(
    "plane",
    {"kind": pl.String, "id": pl.String, "class": pl.String, "x": pl.Float64, "y": pl.Float64},
    key=("kind", "id"),
)
"""Places of images and texts on a plane."""
ROLES = {
    "rule": Style(BLUE, role="measured"),
    "control": Style(VERMILLION, shape="cross"),
    "baseline": Style(ORANGE, shape="square"),
    "file": Style(GREEN, shape="diamond"),
}
LINES = (
    (BLUE, [1, 0]),
    (INK, [9, 2, 2, 2]),
    (VERMILLION, [3, 2.5]),
    (ORANGE, [7, 3]),
    (PURPLE, [1.5, 2.5]),
    (GREEN, [5, 2]),
    (SKY, [9, 3]),
)
_HUES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, WINE, OLIVE)
_SHAPES = ("circle", "square", "triangle-up")
_MOST_MARKED = len(_HUES) * len(_SHAPES)
_OTHERS = "other classes"


def zero_shot_chart(table: pl.DataFrame, *, width: int = 560, narrow: bool = False) -> alt.Chart:
    """Accuracy of every set of texts with its interval, marked by role; table `zero_shot` with `name`.

    `narrow` writes the names above the rows for phones.
    """
    names = apart([clip(visible(name), 44) for name in table["name"]])
    rows = table.with_columns(name=pl.Series(names, dtype=pl.String))
    styles = list(ROLES.values())
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("name:N")
        .sort(names)
        .title(None)
        .axis(
            labels=not narrow,
            ticks=False,
            domain=False,
            labelLimit=0,
            labelPadding=8,
            minExtent=0 if narrow else extent(names),
        ),
        color=alt.Color("role:N")
        .scale(domain=list(ROLES), range=[style.colour for style in styles])
        .legend(None),
    )
    across = alt.Scale(domain=[0, 1])
    bars = base.mark_rule(strokeWidth=6, opacity=0.32, strokeCap="round").encode(
        x=alt.X("ci_low:Q").scale(across).title("test accuracy").axis(format=".1f"), x2="ci_high:Q"
    )
    points = base.mark_point(size=52, opacity=1, strokeWidth=2).encode(
        x=alt.X("accuracy:Q").scale(across).title("test accuracy"),
        shape=alt.Shape("role:N")
        .scale(domain=list(ROLES), range=[style.shape for style in styles])
        .legend(None),
    )
    layers: list[alt.Chart] = [bars, points]
    if narrow:
        layers.append(
            base.mark_text(align="left", dy=-11, fontSize=11).encode(
                x=alt.datum(0), text="name:N", color=alt.value(INK)
            )
        )
    step = 33 if narrow else 19
    return dressed(alt.layer(*layers), 325 if narrow else width, max(1, rows.height) * step)


def transfer_chart(
    table: pl.DataFrame, names: Sequence[str], *, width: int = 390, height: int = 230
) -> alt.Chart:
    """Accuracy against shots for the methods `names`; columns of `transfer_summary`, with `name`."""
    rows = table.filter(pl.col("name").is_in(list(names))).with_columns(
        at=pl.when(pl.col("shots") == 0).then(pl.lit("all")).otherwise(pl.col("shots").cast(pl.String))
    )
    order = [str(s) for s in sorted(rows["shots"].unique()) if s] + ["all"]
    lines = [LINES[i % len(LINES)] for i in range(len(names))]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("at:O").sort(order).title("training images a class").axis(labelAngle=0),
        color=alt.Color("name:N")
        .scale(domain=list(names), range=[colour for colour, _ in lines])
        .legend(None),
    )
    up = alt.Scale(zero=False, nice=True)
    band = base.mark_area(opacity=0.1).encode(
        y=alt.Y("ci_low:Q").scale(up).title("test accuracy"), y2="ci_high:Q", detail="name:N"
    )
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("accuracy:Q").scale(up).title("test accuracy"),
        strokeDash=alt.StrokeDash("name:N")
        .scale(domain=list(names), range=[dash for _, dash in lines])
        .legend(None),
    )
    return dressed(alt.layer(band, line), width, height)


def plane_chart(
    points: pl.DataFrame, classes: Sequence[str], *, width: int = 900, height: int = 560, narrow: bool = False
) -> alt.Chart:
    """Images (small marks) and texts (crosses; chosen ones large) on a plane, named where they lie.

    Every class has a mark of its own: eight colours, then the same with other shapes. The first 24
    classes are drawn so; the others are grey. `points` has kind ('image', 'text', 'chosen'), class,
    x and y.
    """
    shown = list(dict.fromkeys(classes))[:_MOST_MARKED]
    names = dict(zip(shown, apart([clip(visible(name), 24) for name in shown]), strict=True))
    rows = points.with_columns(name=pl.col("class").replace_strict(names, default=_OTHERS))
    domain = [*names.values(), _OTHERS]
    hues = [_HUES[n % len(_HUES)] for n in range(len(names))] + [INK]
    shapes = [_SHAPES[n // len(_HUES) % len(_SHAPES)] for n in range(len(names))] + ["circle"]
    colour = alt.Color("name:N").scale(domain=domain, range=hues).legend(None)
    mark = alt.Shape("name:N").scale(domain=domain, range=shapes).legend(None)
    plain = alt.Axis(labels=False, ticks=False, title=None, grid=False, domain=False)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("x:Q").axis(plain).scale(zero=False),
        y=alt.Y("y:Q").axis(plain).scale(zero=False),
        color=colour,
    )
    images = (
        base.transform_filter(alt.datum.kind == "image")
        .mark_point(size=14 if narrow else 20, opacity=0.5, filled=True)
        .encode(shape=mark)
    )
    texts = base.transform_filter(alt.datum.kind == "text").mark_point(
        shape="cross", size=36, opacity=0.55, strokeWidth=1
    )
    chosen = base.transform_filter(alt.datum.kind == "chosen").mark_point(
        shape="cross", size=60 if narrow else 110, filled=True, opacity=0.95
    )
    middles = (
        rows.filter(pl.col("kind") == "image", pl.col("name") != _OTHERS)
        .group_by("name", maintain_order=True)
        .agg(pl.col("x", "y").median())
    )
    labels = (
        alt.Chart(data(_pushed_apart(middles, rows, 26 if narrow else 34)))
        .mark_text(fontSize=11, fontWeight=600, color=INK)
        .encode(x="x:Q", y="y:Q", text="name:N")
    )
    wide, tall = (340, 380) if narrow else (width, height)
    return dressed(alt.layer(images, texts, chosen, labels), wide, tall)


def _pushed_apart(labels: pl.DataFrame, rows: pl.DataFrame, lines: int) -> pl.DataFrame:
    """Labels moved up or down until no two that stand side by side share a line of `lines`."""
    if labels.is_empty():
        return labels
    high, low = float(rows["y"].max()), float(rows["y"].min())  # type: ignore[arg-type]
    wide = float(rows["x"].max() - rows["x"].min()) or 1.0  # type: ignore[operator]
    step = ((high - low) or 1.0) / lines
    placed: list[tuple[str, float, float]] = []
    for name, x, y in labels.sort("y", "name").select("name", "x", "y").iter_rows():
        near = [other for _, at, other in placed if abs(at - x) < 0.3 * wide]
        while any(abs(other - y) < step for other in near):
            y += step / 4
        placed.append((name, x, y))
    return pl.DataFrame(placed, schema={"name": pl.String, "x": pl.Float64, "y": pl.Float64}, orient="row")
