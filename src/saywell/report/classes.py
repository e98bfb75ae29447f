"""The page of a study of classes: one file that opens from disk without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.report.best import FIRST, anchors_of, best_section, reader_table
from saywell.report.charts import MEASURED, headline_chart, others_of, svg
from saywell.report.class_cards import CSS, class_section
from saywell.report.class_charts import LINES, ROLES, plane_chart, transfer_chart, zero_shot_chart
from saywell.report.figures import folded_table, key, marks_key
from saywell.report.formats import count, dated, duration, interval, two
from saywell.report.frame import MOST_BYTES, build_page, metric_numbers, save_page, told
from saywell.report.parts import Drawing, Element, Page, Part, clip, el, said
from saywell.store.study import Metric, Study
from saywell.transfer.text_sets import CONTROL, RULE, TextSet


def write_report_classes(study: Study, *, most_bytes: int = MOST_BYTES) -> Path:
    """Write `report.html` into the study's folder and return its path.

    Parts of the study that are not there yet are left out.
    """
    return save_page(study, report_page_classes(study, most_bytes=most_bytes))


def report_page_classes(study: Study, *, most_bytes: int = MOST_BYTES) -> Page:
    """The page as parts."""
    has = set(study.manifest.tables)
    metrics = study.headline() if study.has("metrics.json") else []
    ready = {"class_texts", "text_scores"} <= has
    best = study.best(FIRST) if {"scores", "descriptions"} <= has else []
    jpegs = dict(study.table("thumbnails").iter_rows()) if "thumbnails" in has else {}
    return build_page(
        study,
        f"Classes, described by {_short(study.manifest.config.get('encoder', 'an encoder'))}",
        lambda: _title(study),
        lambda has: best_section(study, best, has, jpegs),
        lambda: _first_screen(study, metrics),
        [
            ("zero-shot", "Zero-shot", lambda: _zero_shot(study) if "zero_shot" in has else None),
            ("transfer", "Transfer", lambda: _transfer(study) if "transfer_summary" in has else None),
            ("judge", "Judge", lambda: _judge(study) if "judgements" in has else None),
            ("plane", "Texts among images", lambda: _plane(study) if "plane" in has else None),
        ],
        (
            "classes",
            "Classes",
            lambda room: class_section(study, room, anchors_of(best), jpegs) if ready else None,
        ),
        "Texts were written and chosen without the test images, which all accuracies are of."
        " Intervals are 95 %, by bootstrap over images, and over seeds where there are several.",
        most_bytes=most_bytes,
        needs=("page.css", "drawings.css", CSS, "page.js"),
    )


def _title(study: Study) -> Element:
    manifest = study.manifest
    parts: list[Part] = [
        el("p", {"class": "eyebrow"}, "Study of classes · ", dated(manifest.started)),
        el("h1", None, "Which words help to recognise these classes"),
    ]
    if manifest.status not in ("complete", "running"):
        parts.append(
            el(
                "p",
                {"class": "warn", "role": "note"},
                f"This study is not finished (it is {manifest.status}): figures may be missing.",
            )
        )
    return el("div", None, *parts)


def _first_screen(study: Study, metrics: Sequence[Metric]) -> Element:
    config, manifest = study.manifest.config, study.manifest
    parts: list[Part] = []
    tables = manifest.tables
    if {"classes", "class_texts", "text_scores"} <= set(tables):
        texts, scores = study.table("class_texts"), study.table("text_scores")
        usable = texts.filter(pl.col("status").is_in(["grounded", "ungrounded"]))
        chosen = scores.filter(rule=config["select"], network=False, chosen=True).height
        grounded = texts.filter(status="grounded").height
        tiles = [
            (count(study.table("classes").height), "classes", f"{study.examples.height:,} images"),
            (count(usable.height), "texts to choose from", f"{count(grounded)} rest on a passage"),
            (count(chosen), "texts chosen", f"by the rule {config['select']}"),
            *_verified(study),
        ]
        parts.append(
            el(
                "div",
                {"class": "tiles"},
                *(
                    el(
                        "div",
                        {"class": "tile"},
                        el("strong", None, number),
                        el("span", None, name),
                        el("small", None, more),
                    )
                    for number, name, more in tiles
                ),
            )
        )
    parts.append(_facts(study))
    if metrics:
        parts.append(_headline(study, metrics))
    parts.append(_failures(study))
    if manifest.notes:
        parts.append(
            el(
                "section",
                {"class": "notes"},
                el("h2", None, "What a reader has to know"),
                el("ul", None, *(el("li", None, said(note, 600)) for note in manifest.notes[:30])),
            )
        )
    return el("section", {"class": "first", "aria-label": "Summary"}, *parts)


def _facts(study: Study) -> Element:
    config, manifest = study.manifest.config, study.manifest
    splits = dict(study.examples["part"].value_counts().iter_rows())
    sizes = ", ".join(
        f"{count(splits[name])} {use}"
        for name, use in ((DESCRIBE, "to train"), (SELECT, "to choose"), (SCORE, "to test"))
        if name in splits
    )
    describer = "given texts" if config.get("texts") else config.get("llm") or "extractive"
    cost = {name: value for name, value in manifest.cost.items() if value is not None}
    calls = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in cost.items())
    rows: list[tuple[str, str]] = [
        ("Images", f"{count(study.examples.height)}: {sizes}"),
        ("Encoder", _short(config.get("encoder"))),
        ("Describer", str(describer)),
        ("Knowledge", _short(config.get("knowledge"))),
        ("Calls to LLMs", calls or "none: no LLM was asked"),
        ("Ran", f"{dated(manifest.started)}{duration(manifest.started, manifest.finished)}"),
    ]
    return el(
        "dl",
        {"class": "facts"},
        *(el("div", None, el("dt", None, name), el("dd", None, said(value, 200))) for name, value in rows),
    )


def _headline(study: Study, metrics: Sequence[Metric]) -> Element:
    shown = [m for m in metrics if m.value is not None]
    names = [MEASURED, *others_of(shown)]
    readers = reader_table(study) if "scores" in study.manifest.tables else None
    return el(
        "section",
        {"class": "headline", "aria-labelledby": "headline"},
        el("h2", {"id": "headline"}, "Headline figures"),
        el(
            "p",
            {"class": "how"},
            "Dot and bar: the value and its 95 % interval. The other marks are"
            " controls, which should do worse, where the key says nothing else. A figure says something"
            " where its bar lies clear of every control.",
        ),
        key(names, points=True),
        el("div", {"class": "wide"}, Drawing(svg(headline_chart(shown)), told(shown))),
        el("div", {"class": "narrow"}, Drawing(svg(headline_chart(shown, narrow=True)), told(shown))),
        metric_numbers(metrics),
        *([readers] if readers is not None else []),
    )


def _failures(study: Study) -> Element:
    rows: list[tuple[str, str]] = []
    if "rejected" in study.manifest.tables:
        rejected = study.table("rejected")
        rows += [
            (f"image not used: {reason}", count(number))
            for reason, number in rejected["reason"].value_counts(sort=True).head(12).iter_rows()
        ]
        names = rejected["name"].to_list() if "name" in rejected.columns else []
        if names:
            rows.append((f"these are {', '.join(names[:20])}", ""))
    if "converted" in study.manifest.tables:
        changes = study.table("converted")["change"].value_counts(sort=True).head(12)
        rows += [(f"image converted: {change}", count(number)) for change, number in changes.iter_rows()]
    if "class_texts" in study.manifest.tables:
        states = study.table("class_texts")["status"].value_counts(sort=True)
        rows += [
            (f"text not used: {state}", count(number))
            for state, number in states.iter_rows()
            if state not in ("grounded", "ungrounded")
        ]
    if not rows:
        return el("p", {"class": "how"}, "No image was refused and no text was left out.")
    return el(
        "section",
        {"class": "failures", "aria-labelledby": "without"},
        el("h2", {"id": "without"}, "What failed or was left out"),
        el(
            "ul",
            {"class": "tally"},
            *(el("li", None, el("b", None, number), said(name, 500)) for name, number in rows),
        ),
    )


def _zero_shot(study: Study) -> Element:
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


def zero_shot_rows(study: Study) -> pl.DataFrame:
    """Table `zero_shot`, best first, with a `name` for people."""
    return _named(study.table("zero_shot")).sort("accuracy", descending=True)


def transfer_rows(study: Study) -> tuple[pl.DataFrame, list[str]]:
    """Table `transfer_summary` with a `name` per texts and training, and the names to draw."""
    own = TextSet(study.manifest.config["select"], RULE)
    table = _named(study.table("transfer_summary")).with_columns(
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
        scores = study.table("text_scores")
        rule = study.manifest.config["select"]
        chosen = scores.filter(rule=rule, network=False, chosen=True)["text"].to_list()
    return study.table("plane").with_columns(
        kind=pl.when((pl.col("kind") == "text") & pl.col("id").is_in(chosen))
        .then(pl.lit("chosen"))
        .otherwise("kind")
    )


def _transfer(study: Study) -> Element:
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


def _judge(study: Study) -> Element | None:
    table = study.table("judgements")
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


def _plane(study: Study) -> Element | None:
    plane = study.table("plane")
    if plane.is_empty():
        return None
    label = f"{plane.height} images and texts on a plane; near means similar"
    points, names = plane_points(study), study.table("classes")["name"].to_list()
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


def _verified(study: Study) -> list[tuple[str, str, str]]:
    if "scores" not in study.manifest.tables or not study.manifest.tables["scores"].rows:
        return []
    verdicts = study.verdicts()
    good = verdicts.filter(status="verified").height
    return [(count(good), "classes verified", f"of {count(verdicts.height)} put to the test")]


def _short(name: object) -> str:
    """A folder by its last part: where it lay says nothing to who reads the page elsewhere."""
    text = str(name)
    return Path(text).name if Path(text).is_absolute() else text
