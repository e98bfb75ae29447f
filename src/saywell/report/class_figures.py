"""The figures of classes of images: accuracies of texts, what a judge thinks, texts among images."""

from __future__ import annotations

import polars as pl

from saywell.data.parts import SELECT
from saywell.report.charts import svg
from saywell.report.class_charts import LINES, ROLES, plane_chart, transfer_chart, zero_shot_chart
from saywell.report.figures import folded_table, marks_key
from saywell.report.formats import count, interval, two
from saywell.report.parts import Drawing, Element, clip, el, said
from saywell.report.tables import asked
from saywell.store.study import Study
from saywell.transfer.text_sets import CONTROL, RULE, TextSet


def zero_shot_rows(study: Study) -> pl.DataFrame:
    """Table `zero_shot`, best first, with a `name` for people."""
    return _named(asked(study, "zero_shot")).sort("accuracy", descending=True)


def transfer_rows(study: Study) -> tuple[pl.DataFrame, list[str]]:
    """Table `transfer_summary` with a `name` per texts and training, and the names to draw."""
    own = TextSet(study.manifest.config["select"], RULE)
    table = _named(asked(study, "transfer_summary")).with_columns(
        name=pl.when(pl.col("training") == "joint").then(pl.col("name") + ", joint").otherwise("name")
    )
    there = set(table["name"])
    wanted = [
        own._replace(weighted=True).said,
        "images only",
        "clip-only",
        TextSet("random words", CONTROL, searched=True).said,
        "classes permuted",
        f"{own.said}, joint",
        "images and validation images",
    ]
    return table, [name for name in wanted if name in there]


def _named(table: pl.DataFrame) -> pl.DataFrame:
    """With the texts of each row in words, as `name`."""
    said = [TextSet(*row).said for row in table.select(TextSet._fields).iter_rows()]
    return table.with_columns(name=pl.Series(said, dtype=pl.String))


def plane_points(study: Study) -> pl.DataFrame:
    """Table `plane`; texts that the study's rule chose are of kind "chosen"."""
    chosen: list[str] = []
    if "text_scores" in study.manifest.tables:
        scores = asked(study, "text_scores")
        rule = study.manifest.config["select"]
        chosen = scores.filter(rule=rule, network=False, chosen=True)["text"].to_list()
    return asked(study, "plane").with_columns(
        kind=pl.when((pl.col("kind") == "text") & pl.col("id").is_in(chosen))
        .then(pl.lit("chosen"))
        .otherwise("kind")
    )


def zero_shot_figure(study: Study) -> Element:
    """How many images go to their class by words alone."""
    table = zero_shot_rows(study)
    label = "; ".join(f"{r['name']} {two(r['accuracy'])}" for r in table.iter_rows(named=True))
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(r["name"], 80)),
            el("td", None, r["role"]),
            el("td", {"class": "n"}, count(r["texts"])),
            el("td", {"class": "n"}, two(r["accuracy"])),
            el("td", {"class": "n"}, interval(r["ci_low"], r["ci_high"])),
            el("td", {"class": "n"}, two(r["difference"])),
            el("td", {"class": "n"}, interval(r["difference_low"], r["difference_high"])),
        )
        for r in table.iter_rows(named=True)
    ]
    head = ("texts of", "role", "texts", "accuracy", "95 % interval", "against class names", "its interval")
    return el(
        "section",
        {"aria-labelledby": "h-zero"},
        el("h2", {"id": "h-zero"}, "Zero-shot: by words alone"),
        el(
            "p",
            {"class": "how"},
            "An image goes to the class whose texts have the highest mean"
            " cosine with it. Name-free: class names inside the texts are masked.",
        ),
        marks_key(ROLES),
        el("div", {"class": "wide"}, Drawing(svg(zero_shot_chart(table)), clip(label, 2000))),
        el("div", {"class": "narrow"}, Drawing(svg(zero_shot_chart(table, narrow=True)), clip(label, 2000))),
        folded_table("Numbers", head, rows),
    )


def transfer_figure(study: Study) -> Element:
    """What words add to labelled images."""
    table, names = transfer_rows(study)
    titles = {
        SELECT: "texts and rates chosen on validation images beside the shots",
        "shots": "everything chosen inside the shots",
    }
    full = table.filter(shots=0)
    drawn = []
    for selection in titles:
        part = table.filter(selection=selection)
        if part.is_empty():
            continue
        # All training images leave nothing inside: their run belongs to both pictures.
        rows = pl.concat([part.filter(pl.col("shots") > 0), full])
        label = f"test accuracy against training images a class, {titles[selection]}"
        drawn.append(
            el(
                "div",
                {"class": "panel"},
                el("h3", {"class": "small"}, titles[selection]),
                Drawing(svg(transfer_chart(rows, names)), label),
            )
        )
    lines = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(r["name"], 80)),
            el("td", None, r["selection"]),
            el("td", {"class": "n"}, "all" if r["shots"] == 0 else str(r["shots"])),
            el("td", {"class": "n"}, two(r["accuracy"])),
            el("td", {"class": "n"}, interval(r["ci_low"], r["ci_high"])),
            el("td", {"class": "n"}, two(r["difference"])),
            el("td", {"class": "n"}, interval(r["difference_low"], r["difference_high"])),
        )
        for r in table.iter_rows(named=True)
    ]
    head = ("texts", "chosen on", "shots", "accuracy", "95 % interval", "gain", "95 % interval")
    return el(
        "section",
        {"aria-labelledby": "h-transfer"},
        el("h2", {"id": "h-transfer"}, "Transfer: images first, then words"),
        el(
            "p",
            {"class": "how"},
            "A linear classifier of image embeddings that goes on learning from"
            " the chosen texts. Bands are 95 % intervals over seeds and test images; gains are paired"
            " with images only.",
        ),
        el("ul", {"class": "methods"}, *(_swatch(name, place) for place, name in enumerate(names))),
        el("div", {"class": "panels two"}, *drawn),
        folded_table("Numbers", head, lines),
    )


def _swatch(name: str, place: int) -> Element:
    colour, dash = LINES[place % len(LINES)]
    path = {
        "d": "M1 8h26",
        "stroke": colour,
        "stroke-width": "2",
        "fill": "none",
        "stroke-dasharray": " ".join(map(str, dash)) if dash[1] else "none",
    }
    box = {"viewBox": "0 0 28 16", "width": "28", "height": "16", "class": "swatch", "aria-hidden": "true"}
    return el("li", None, el("svg", box, el("path", path)), " ", said(name, 60))


def judge_table(study: Study) -> Element | None:
    """How often each source was ranked first."""
    table = asked(study, "judgements")
    if table.is_empty():
        return None
    best = (
        table.drop_nulls("ranking")
        .group_by("criterion", source=pl.col("ranking").list.first())
        .len()
        .sort("criterion", "len", descending=[False, True])
    )
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, criterion),
            el("td", None, said(source, 80)),
            el("td", {"class": "n"}, count(number)),
        )
        for criterion, source, number in best.iter_rows()
    ]
    lost = table.filter(pl.col("ranking").is_null()).height
    return el(
        "section",
        {"aria-labelledby": "h-judge"},
        el("h2", {"id": "h-judge"}, "What a judge thinks"),
        el(
            "p",
            {"class": "how"},
            "Times that a source was ranked first, of all repeats. The judge saw"
            f" no names, in random order, thrice; {count(lost)} rankings could not be read. How often it"
            " agrees with itself is among the headline figures.",
        ),
        el(
            "table",
            None,
            el(
                "thead",
                None,
                el(
                    "tr",
                    None,
                    *(el("th", {"scope": "col"}, h) for h in ("criterion", "ranked first", "times")),
                ),
            ),
            el("tbody", None, *rows),
        ),
    )


def plane_figure(study: Study) -> Element | None:
    """Texts among images, where near means similar."""
    plane = asked(study, "plane")
    if plane.is_empty():
        return None
    label = f"{plane.height} images and texts on a plane; near means similar"
    points, names = plane_points(study), asked(study, "classes")["name"].to_list()
    return el(
        "section",
        {"aria-labelledby": "h-plane"},
        el("h2", {"id": "h-plane"}, "Texts among images"),
        el(
            "p",
            {"class": "how"},
            "Training images (small marks) and texts (crosses, the chosen ones"
            " large) by t-SNE of their embeddings, each kind without its own mean; a class's name"
            " stands amid its images. Near means similar; far apart means little.",
        ),
        el("div", {"class": "wide"}, Drawing(svg(plane_chart(points, names)), label)),
        el("div", {"class": "narrow"}, Drawing(svg(plane_chart(points, names, narrow=True)), label)),
    )
