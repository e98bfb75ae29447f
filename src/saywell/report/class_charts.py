"""Charts of a study of classes, as SVG; see `charts` for how they are dressed."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from saywell.report.charts import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    apart,
    data,
    dressed,
    extent,
)
from saywell.report.parts import clip, visible

ROLES = {"rule": BLUE, "control": VERMILLION, "baseline": ORANGE, "file": GREEN}
LINES = (
    (BLUE, [1, 0]), (INK, [9, 2, 2, 2]), (VERMILLION, [3, 2.5]), (ORANGE, [7, 3]),
    (PURPLE, [1.5, 2.5]), (GREEN, [5, 2]), (SKY, [9, 3]),
)  # fmt: skip
_MOST_COLOURS = 20


def zero_shot_chart(table: pl.DataFrame, *, width: int = 560) -> alt.Chart:
    """Accuracy of every set of texts with its interval, coloured by role; table `zero_shot`."""
    names = apart([clip(visible(name), 44) for name in table["method"]])
    rows = table.with_columns(method=pl.Series(names, dtype=pl.String))
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("method:N").sort(names).title(None).axis(
            ticks=False, domain=False, labelLimit=0, labelPadding=8, minExtent=extent(names)
        ),
        color=alt.Color("role:N")
        .scale(domain=list(ROLES), range=list(ROLES.values())).legend(None),
    )  # fmt: skip
    across = alt.Scale(domain=[0, 1])
    bars = base.mark_rule(strokeWidth=6, opacity=0.32, strokeCap="round").encode(
        x=alt.X("ci_low:Q").scale(across).title("test accuracy").axis(format=".1f"),
        x2="ci_high:Q",
    )
    points = base.mark_point(filled=True, size=52, opacity=1).encode(
        x=alt.X("accuracy:Q").scale(across).title("test accuracy")
    )
    return dressed(alt.layer(bars, points), width, max(1, rows.height) * 19)


def transfer_chart(
    table: pl.DataFrame, names: Sequence[str], *, width: int = 390, height: int = 230
) -> alt.Chart:
    """Accuracy against shots for the methods `names`; columns of `transfer_summary`, with `name`."""
    rows = table.filter(pl.col("name").is_in(list(names))).with_columns(
        at=pl.when(pl.col("shots") == 0).then(pl.lit("all")).otherwise(
            pl.col("shots").cast(pl.String)
        )
    )  # fmt: skip
    order = [str(s) for s in sorted(rows["shots"].unique()) if s] + ["all"]
    lines = [LINES[i % len(LINES)] for i in range(len(names))]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("at:O").sort(order).title("training images a class").axis(labelAngle=0),
        color=alt.Color("name:N")
        .scale(domain=list(names), range=[colour for colour, _ in lines]).legend(None),
    )  # fmt: skip
    up = alt.Scale(zero=False, nice=True)
    band = base.mark_area(opacity=0.1).encode(
        y=alt.Y("ci_low:Q").scale(up).title("test accuracy"), y2="ci_high:Q", detail="name:N"
    )
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("accuracy:Q").scale(up).title("test accuracy"),
        strokeDash=alt.StrokeDash("name:N")
        .scale(domain=list(names), range=[dash for _, dash in lines]).legend(None),
    )  # fmt: skip
    return dressed(alt.layer(band, line), width, height)


def plane_chart(
    points: pl.DataFrame, classes: Sequence[str], *, width: int = 900, height: int = 560
) -> alt.Chart:
    """Images (dots) and texts (crosses; chosen ones large) on a plane, coloured by class.

    `points` has kind ('image', 'text', 'chosen'), class, x and y.
    """
    shown = list(dict.fromkeys(classes))[:_MOST_COLOURS]
    names = {name: clip(visible(name), 30) for name in shown}
    rows = points.with_columns(
        colour=pl.col("class").replace_strict(names, default="other classes")
    )
    domain = [*dict.fromkeys(names.values())]
    colour = (
        alt.Color("colour:N").title(None).scale(domain=domain, scheme="tableau20")
        .legend(labelColor=INK, columns=1, symbolType="circle", labelLimit=200)
    )  # fmt: skip
    plain = alt.Axis(labels=False, ticks=False, title=None, grid=False, domain=False)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("x:Q").axis(plain).scale(zero=False), y=alt.Y("y:Q").axis(plain).scale(zero=False),
        color=colour,
    )  # fmt: skip
    images = base.transform_filter(alt.datum.kind == "image").mark_circle(size=16, opacity=0.45)
    texts = base.transform_filter(alt.datum.kind == "text").mark_point(
        shape="cross", size=36, opacity=0.55, strokeWidth=1
    )
    chosen = base.transform_filter(alt.datum.kind == "chosen").mark_point(
        shape="cross", size=110, filled=True, opacity=0.95
    )
    return dressed(alt.layer(images, texts, chosen), width - 190, height)
