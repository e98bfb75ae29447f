"""The page of a study of neurons: one file that opens from disk without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.report.best import FIRST, anchors_of, best_section, reader_table
from saywell.report.charts import MEASURED, headline_chart, others_of, svg
from saywell.report.figures import curve_figures, descriptor_figure, key, layer_figure, recovered_section
from saywell.report.formats import count, dated, duration, percent
from saywell.report.frame import MOST_BYTES, build_page, metric_numbers, save_page, told
from saywell.report.parts import Drawing, Element, Page, Part, el, said
from saywell.report.units import UnitVerdicts, unit_section, unit_verdicts
from saywell.store.study import Metric, Study


def write_report(study: Study, *, most_bytes: int = MOST_BYTES) -> Path:
    """Write `report.html` into the study's folder and return its path.

    Parts of the study that are not there yet are left out.
    """
    return save_page(study, report_page(study, most_bytes=most_bytes))


def report_page(study: Study, *, most_bytes: int = MOST_BYTES) -> Page:
    """The page as parts."""
    has = study.manifest.tables
    found = unit_verdicts(study) if {"units", "descriptions", "scores"} <= set(has) else None
    metrics = study.headline() if study.has("metrics.json") else []
    curves = study.table("curves") if "curves" in has else None
    best = study.best(FIRST) if found is not None else []
    return build_page(
        study,
        f"Neurons of {study.manifest.config.get('model', 'a model')}",
        lambda: _title(study),
        lambda has: best_section(study, best, has, {}),
        lambda: _first_screen(study, found, metrics),
        [
            ("figures", "How far the descriptors hold", lambda: curve_figures(curves)),
            ("layers", "Layer by layer", lambda: layer_figure(found)),
            ("descriptors", "Descriptors", lambda: descriptor_figure(study, found)),
            ("gold", "Gold descriptors", lambda: recovered_section(study) if "recovered" in has else None),
        ],
        ("units", "Units", lambda room: found and unit_section(study, found, room, anchors_of(best))),
        "F1, precision and recall are of test sentences, which nothing was described from; Jaccard"
        " compares describe with select sentences. Intervals are 95 %, by bootstrap.",
        most_bytes=most_bytes,
    )


def _title(study: Study) -> Element:
    config, manifest = study.manifest.config, study.manifest
    parts: list[Part] = [
        el("p", {"class": "eyebrow"}, "Study of neurons · ", dated(manifest.started)),
        el("h1", None, "What the neurons of ", said(str(config.get("model", "?")), 80), " respond to"),
    ]
    if manifest.status != "complete":
        parts.append(
            el(
                "p",
                {"class": "warn", "role": "note"},
                f"This study is not finished (it is {manifest.status}): figures may be missing.",
            )
        )
    return el("div", None, *parts)


def _first_screen(study: Study, found: UnitVerdicts | None, metrics: Sequence[Metric]) -> Element:
    manifest, parts = study.manifest, []
    if found is not None:
        parts.append(_lede(found))
    parts.append(_facts(study))
    if metrics:
        parts.append(_headline(study, metrics))
    parts.append(_failures(study, found))
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


def _lede(found: UnitVerdicts) -> Element:
    total, described = found.table.height, found.described.height
    verified = found.verified.height
    tiles = [
        (count(total), "sides of neurons studied", "each neuron going high and going low"),
        (count(described), "have a description", percent(described, total) + " of all sides"),
        (
            count(verified),
            "verified",
            percent(verified, described) + " of the descriptions hold on"
            " held-out sentences better than every floor",
        ),
    ]
    return el(
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


def _facts(study: Study) -> Element:
    config, manifest = study.manifest.config, study.manifest
    rows: list[tuple[str, list[Part | str]]] = []
    if "units" in manifest.tables:
        units = study.units
        layers = units["layer"].n_unique()
        kinds = ", ".join(units["kind"].unique().sort())
        per = units.filter(sign=1).height
        rows.append(
            (
                "Model",
                [
                    said(str(config.get("model", "?")), 80),
                    f", {count(per)} ",
                    said(kinds, 60),
                    f" units in {layers} layers",
                ],
            )
        )
    if "examples" in manifest.tables:
        splits = dict(study.examples["part"].value_counts().iter_rows())
        sizes = ", ".join(
            f"{count(splits[name])} {use}"
            for name, use in ((DESCRIBE, "to describe"), (SELECT, "to compare"), (SCORE, "to test"))
            if name in splits
        )
        rows.append(("Sentences", [f"{count(study.examples.height)}: {sizes}"]))
    writer = "gold tags" if config.get("tags") else str(config.get("llm", "?"))
    descriptors = manifest.tables.get("descriptors")
    rows.append(
        ("Describer", [said(writer, 80), f", {count(descriptors.rows)} descriptors" if descriptors else ""])
    )
    rows.append(("Calls to LLMs", [said(_cost(study), 300)]))
    rows.append(("Ran", [f"{dated(manifest.started)}{duration(manifest.started, manifest.finished)}"]))
    return el(
        "dl",
        {"class": "facts"},
        *(el("div", None, el("dt", None, name), el("dd", None, *value)) for name, value in rows),
    )


def _cost(study: Study) -> str:
    cost = {name: value for name, value in study.manifest.cost.items() if value is not None}
    if cost:
        return ", ".join(
            f"{name.replace('_', ' ')} {value:,.4g}"
            if isinstance(value, float)
            else f"{name.replace('_', ' ')} {value:,}"
            for name, value in cost.items()
        )
    config = study.manifest.config
    if config.get("tags") or config.get("llm") in (None, "extractive"):
        return "none: no LLM was asked"
    return "not recorded"


def _failures(study: Study, found: UnitVerdicts | None) -> Element:
    has = study.manifest.tables
    rows: list[tuple[str, str]] = []
    if "rejected" in has:
        rows += [
            (f"row not used: {reason}", count(number))
            for reason, number in study.table("rejected")["reason"]
            .value_counts(sort=True)
            .head(12)
            .iter_rows()
        ]
    if "unanswered" in has:
        rows += [
            (f"no answer ({step}): {reason}", count(number))
            for step, reason, number in study.table("unanswered")
            .group_by("step", "reason")
            .len()
            .sort("len", "step", "reason", descending=[True, False, False])
            .head(12)
            .iter_rows()
        ]
    if found is not None:
        rows += [
            (reason, count(number))
            for reason, number in found.undescribed["status"].value_counts(sort=True).head(12).iter_rows()
        ]
    if not rows:
        return el("p", {"class": "how"}, "No row was refused and no call failed.")
    return el(
        "section",
        {"class": "failures", "aria-labelledby": "without"},
        el("h2", {"id": "without"}, "What failed or was left out"),
        el(
            "ul",
            {"class": "tally"},
            *(el("li", None, el("b", None, number), said(name, 160)) for name, number in rows),
        ),
    )


def _headline(study: Study, metrics: Sequence[Metric]) -> Element:
    # Figures under other tags and other readings come with the curves further down.
    main = [m for m in metrics if m.value is not None and m.by.get("tags") != "lexical"] or list(metrics)
    missing = [m.name for m in metrics if m.value is None]
    label, names = told(main), [MEASURED, *others_of(main)]
    body: list[Part] = [
        el("h2", {"id": "headline"}, "Headline figures"),
        el(
            "p",
            {"class": "how"},
            "Dot and bar: the value and its 95 % interval. The other marks are"
            " controls, which should do worse, where the key says nothing else. A figure says something"
            " where its bar lies clear of every control.",
        ),
        key(names, points=True),
        el("div", {"class": "wide"}, Drawing(svg(headline_chart(main)), label)),
        el("div", {"class": "narrow"}, Drawing(svg(headline_chart(main, narrow=True)), label)),
        metric_numbers(metrics),
    ]
    if missing:
        body.append(el("p", {"class": "how"}, "Without a value: ", said(", ".join(missing), 400)))
    readers = reader_table(study) if "scores" in study.manifest.tables else None
    body += [readers] if readers is not None else []
    return el("section", {"class": "headline", "aria-labelledby": "headline"}, *body)
