"""The page of a study: one file that opens from disk without a network, made from what tables there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.report.best import FIRST, anchors_of, best_section, reader_table
from saywell.report.card import StudyRows, Unit, of_pictures
from saywell.report.charts import MEASURED, headline_chart, others_of, shares, svg
from saywell.report.class_figures import judge_table, plane_figure, transfer_figure, zero_shot_figure
from saywell.report.dictionary import density_figure, fit_section, relation_section
from saywell.report.figures import curve_figures, descriptor_figure, key, layer_figure, recovered_section
from saywell.report.formats import count, dated, duration, joined, percent
from saywell.report.frame import MOST_BYTES, build_page, metric_numbers, save_page, told
from saywell.report.hypotheses import SECTIONS as HYPOTHESES
from saywell.report.hypotheses import Findings, Link, hypothesis_tiles, opening
from saywell.report.hypothesis_words import Hypothesis, goes_with, target_of
from saywell.report.parts import Drawing, Element, Page, Part, el, said
from saywell.report.tables import asked, tried
from saywell.report.units import UnitVerdicts, unit_section, unit_verdicts
from saywell.store.study import Metric, Study

_USABLE = ("grounded", "ungrounded")
_MOST_REASONS, _MOST_NOTES = 12, 30


class Seen:
    """A study as its page sees it; what several sections ask for is read once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.has = set(study.manifest.tables)

    @cached_property
    def found(self) -> UnitVerdicts:
        """Every unit with its verdict."""
        return unit_verdicts(self.study)

    @cached_property
    def best(self) -> list[Unit]:
        """The units that the page begins with."""
        return self.study.best(FIRST) if {"descriptions", "scores"} <= self.has else []

    @cached_property
    def anchors(self) -> Mapping[str, str]:
        """Where the units that the page begins with have their cards."""
        if "hypotheses" in self.has:
            return {one.unit: f"b{place}" for place, one in enumerate(self.findings.shown())}
        return anchors_of(self.best)

    @cached_property
    def jpegs(self) -> Mapping[str, bytes]:
        """Small pictures by example."""
        return dict(asked(self.study, "thumbnails").iter_rows()) if "thumbnails" in self.has else {}

    @cached_property
    def metrics(self) -> list[Metric]:
        """The headline figures."""
        return self.study.headline() if self.study.has("metrics.json") else []

    @cached_property
    def findings(self) -> Findings:
        """What goes with an outcome."""
        return Findings(StudyRows(self.study))

    @property
    def pictures(self) -> bool:
        """Whether the examples are images."""
        return "examples" in self.has and of_pictures(asked(self.study, "examples"))


class Section(NamedTuple):
    """A part of the page, which is there where its tables are."""

    name: str
    title: str
    needs: frozenset[str]
    make: Callable[[Seen], Part | None]


def _section(name: str, title: str, make: Callable[[Seen], Part | None], *needs: str) -> Section:
    return Section(name, title, frozenset(needs), make)


SECTIONS = (
    *(
        _section(name, title, lambda s, make=make: make(s.findings), table)
        for name, title, table, make in HYPOTHESES
    ),
    _section(
        "figures", "How far the descriptors hold", lambda s: curve_figures(asked(s.study, "curves")), "curves"
    ),
    _section("layers", "Layer by layer", lambda s: layer_figure(s.found), "units", "descriptions", "scores"),
    _section(
        "descriptors",
        "Descriptors",
        lambda s: descriptor_figure(s.study, s.found),
        *("descriptors", "descriptions", "scores"),
    ),
    _section("dictionary", "The dictionary", lambda s: fit_section(s.study), "fit"),
    _section(
        "density",
        "How often they fire",
        lambda s: density_figure(s.study, s.found),
        *("density", "units", "descriptions", "scores"),
    ),
    _section("relations", "Relations", lambda s: relation_section(s.study), "relations"),
    _section("gold", "Gold descriptors", lambda s: recovered_section(s.study), "recovered"),
    _section("zero-shot", "Zero-shot", lambda s: zero_shot_figure(s.study), "zero_shot"),
    _section("transfer", "Transfer", lambda s: transfer_figure(s.study), "transfer_summary"),
    _section("judge", "Judge", lambda s: judge_table(s.study), "judgements"),
    _section("plane", "Texts among images", lambda s: plane_figure(s.study), "plane", "classes"),
)
"""In the order of the page; a new table with a figure of its own is one line."""


def write_report(study: Study, *, most_bytes: int = MOST_BYTES) -> Path:
    """Write `report.html` into the study's folder and return its path.

    Parts of the study that are not there yet are left out.
    """
    return save_page(study, report_page(study, most_bytes=most_bytes))


def report_page(study: Study, *, most_bytes: int = MOST_BYTES) -> Page:
    """The page as parts."""
    seen = Seen(study)
    listed = "descriptions" in seen.has
    return build_page(
        study,
        _heading(seen),
        lambda: _title(seen),
        lambda has: _begin(seen, has),
        lambda: _first_screen(seen),
        [
            (section.name, section.title, lambda section=section: section.make(seen))
            for section in SECTIONS
            if section.needs <= seen.has
        ],
        (
            "units",
            "Units",
            lambda room: unit_section(study, seen.found, room, seen.anchors, seen.jpegs) if listed else None,
        ),
        "All scores are of held-out examples, which nothing was described from or chosen by. Intervals are"
        " 95 %, by bootstrap over examples, and over seeds where there are several.",
        most_bytes=most_bytes,
        needs=("page.css", "drawings.css", "cards.css", "page.js"),
    )


def _begin(seen: Seen, has: Callable[[str], bool]) -> Element | None:
    """What was found: hypotheses where there are any, else descriptions."""
    if "hypotheses" in seen.has:
        return opening(seen.findings, _to_units(seen.anchors, has))
    return best_section(seen.study, seen.best, has, seen.jpegs)


def _to_units(anchors: Mapping[str, str], has: Callable[[str], bool]) -> Link:
    """Links to what the page has on the units that hypotheses are."""

    def link(one: Hypothesis) -> Part | None:
        anchor = anchors.get(one.unit, "")
        return el("a", {"href": f"#{anchor}"}, "as a unit") if anchor and has(anchor) else None

    return link


def _heading(seen: Seen) -> str:
    """What was asked, by what there is: hypotheses, a model with units, or classes of images."""
    config = seen.study.manifest.config
    if "hypotheses" in seen.has:
        return goes_with(seen.findings.all, target_of(config))
    if config.get("model"):
        return f"What the units of {_short(config['model'])} respond to"
    if "classes" in seen.has:
        return "Which words help to recognise these classes"
    return "What these units respond to"


def _title(seen: Seen) -> Element:
    manifest = seen.study.manifest
    parts: list[Part] = [
        el("p", {"class": "eyebrow"}, f"Study of {manifest.kind} · ", dated(manifest.started)),
        el("h1", None, said(_heading(seen), 160)),
    ]
    if manifest.status not in ("complete", "running"):
        words = f"This study is not finished (it is {manifest.status}): figures may be missing."
        parts.append(el("p", {"class": "warn", "role": "note"}, words))
    return el("div", None, *parts)


def _first_screen(seen: Seen) -> Element:
    notes = seen.study.manifest.notes
    parts: list[Part] = [_tiles(seen), _facts(seen)]
    if seen.metrics:
        parts.append(_headline(seen))
    parts.append(_failures(seen))
    if notes:
        listed = el("ul", None, *(el("li", None, said(note, 600)) for note in notes[:_MOST_NOTES]))
        parts.append(el("section", {"class": "notes"}, el("h2", None, "What a reader has to know"), listed))
    return el("section", {"class": "first", "aria-label": "Summary"}, *parts)


def _tiles(seen: Seen) -> Element:
    tiles = []
    if "hypotheses" in seen.has:
        tiles += hypothesis_tiles(seen.findings)
    elif "descriptions" in seen.has:
        found = seen.found
        total, described, verified = found.table.height, found.described.height, found.verified.height
        low = found.table.filter(pl.col("sign") < 0).height
        sides = f"{count(total - low)} going high, {count(low)} going low" if low else ""
        tiles.append((count(total), "units studied", sides))
        tiles.append((count(described), "have a description", percent(described, total) + " of all"))
        if "scores" in seen.has:
            of = tried(seen.study)
            held = f" of the {count(of)} units tried: true of held-out examples, better than every floor"
            tiles.append((count(verified), "verified", percent(verified, of) + held))
    if "class_texts" in seen.has:
        texts = asked(seen.study, "class_texts")
        usable = texts.filter(pl.col("status").is_in(_USABLE)).height
        grounded = texts.filter(status="grounded").height
        tiles.append((count(usable), "texts to choose from", f"{count(grounded)} rest on a passage"))
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


def _facts(seen: Seen) -> Element:
    config, manifest = seen.study.manifest.config, seen.study.manifest
    rows: list[tuple[str, str]] = []
    if config.get("model"):
        rows.append(("Model", _short(config["model"])))
    tested = seen.findings.all if "hypotheses" in seen.has else []
    if tested:
        equal = dict.fromkeys(name for one in tested for name in one.covariates)
        rows.append(("To explain", joined(list(dict.fromkeys(one.outcome for one in tested)))))
        rows.append(("Held equal", joined(list(equal)) if equal else "nothing"))
    elif "units" in seen.has:
        units = asked(seen.study, "units")
        layers = units["layer"].drop_nulls().n_unique()
        places = units.filter(pl.col("sign").fill_null(1) > 0).height
        kinds = ", ".join(units["kind"].unique().sort())
        inside = f" in {layers} layers" if layers > 1 else ""
        rows.append(("Units", f"{count(places)}{inside}, kind: {kinds}"))
        modules = units["module"].unique() if "module" in units.columns else []
        if len(modules) == 1 and modules[0]:
            rows.append(("Place", modules[0]))
    elif "classes" in seen.has:
        rows.append(("Classes", count(asked(seen.study, "classes").height)))
    if "examples" in seen.has:
        examples = asked(seen.study, "examples")
        splits = dict(examples["part"].value_counts().iter_rows())
        uses = ((DESCRIBE, "to describe"), (SELECT, "to choose and to compare"), (SCORE, "to score"))
        sizes = ", ".join(f"{count(splits[name])} {use}" for name, use in uses if name in splits)
        rows.append(
            (
                "Images" if seen.pictures else "Texts" if tested else "Sentences",
                f"{count(examples.height)}: {sizes}",
            )
        )
    if config.get("encoder") and config.get("encoder") != config.get("model"):
        rows.append(("Encoder", _short(config["encoder"])))
    if not tested:
        rows.append(("Describer", _describer(seen)))
    if config.get("knowledge"):
        rows.append(("Knowledge", _short(config["knowledge"])))
    rows.append(("Calls to LLMs", _cost(seen.study)))
    rows.append(("Ran", f"{dated(manifest.started)}{duration(manifest.started, manifest.finished)}"))
    return el(
        "dl",
        {"class": "facts"},
        *(el("div", None, el("dt", None, name), el("dd", None, said(value, 300))) for name, value in rows),
    )


def _describer(seen: Seen) -> str:
    """Who wrote; and of whom the descriptors are that they speak in."""
    config = seen.study.manifest.config
    if config.get("tags"):
        writer = "gold tags"
    elif config.get("texts"):
        writer = "given texts"
    elif "vocabulary" in seen.study.manifest.inputs:
        writer = "given phrases"
    else:
        writer = str(config.get("llm") or "extractive")
    known = seen.study.manifest.tables.get("descriptors")
    written = asked(seen.study, "descriptions") if "descriptions" in seen.has else pl.DataFrame()
    names = written["describer"].unique(maintain_order=True).to_list() if "describer" in written else []
    who = ", ".join(names) or writer
    return f"{who}; {count(known.rows)} descriptors: {writer}" if known else who


def _cost(study: Study) -> str:
    cost = {name: value for name, value in study.manifest.cost.items() if value is not None}
    if cost:
        return ", ".join(
            f"{name.replace('_', ' ')} " + (f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
            for name, value in cost.items()
        )
    asked = study.manifest.config.get("llm") not in (None, "extractive")
    return "not recorded" if asked and not study.manifest.config.get("tags") else "none: no LLM was asked"


def _failures(seen: Seen) -> Element:
    rows: list[tuple[str, str]] = []

    def add(name: str, counts: pl.DataFrame) -> None:
        rows.extend((f"{name}{why}", count(number)) for why, number in counts.head(_MOST_REASONS).iter_rows())

    if "rejected" in seen.has:
        rejected = asked(seen.study, "rejected")
        add(f"{'image' if seen.pictures else 'row'} not used: ", rejected["reason"].value_counts(sort=True))
        names = rejected["name"].drop_nulls().to_list() if "name" in rejected.columns else []
        if names:
            rows.append((f"these are {', '.join(names[:20])}", ""))
    if "converted" in seen.has:
        add("image converted: ", asked(seen.study, "converted")["change"].value_counts(sort=True))
    if "unanswered" in seen.has:
        lost = asked(seen.study, "unanswered").group_by("step", "reason").len()
        lost = lost.sort("len", "step", "reason", descending=[True, False, False])
        for step, reason, number in lost.head(_MOST_REASONS).iter_rows():
            rows.append((f"no answer ({step}): {reason}", count(number)))
    if "class_texts" in seen.has:
        states = asked(seen.study, "class_texts").filter(~pl.col("status").is_in(_USABLE))
        add("text not used: ", states["status"].value_counts(sort=True))
    if "descriptions" in seen.has:
        add("", seen.found.undescribed["status"].value_counts(sort=True))
    if not rows:
        return el("p", {"class": "how"}, "Nothing was refused and no call failed.")
    tally = (el("li", None, el("b", None, number), said(name, 500)) for name, number in rows)
    return el(
        "section",
        {"class": "failures", "aria-labelledby": "without"},
        el("h2", {"id": "without"}, "What failed or was left out"),
        el("ul", {"class": "tally"}, *tally),
    )


def _headline(seen: Seen) -> Element:
    metrics: Sequence[Metric] = seen.metrics
    # Figures under other tags come with the curves further down.
    main = [m for m in metrics if m.value is not None and m.by.get("tags") != "lexical"] or list(metrics)
    missing = [m.name for m in metrics if m.value is None]
    drawn = shares(main) or main
    counted = [m for m in main if m not in drawn]
    label, names = told(drawn), [MEASURED, *others_of(drawn)]
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
        el("div", {"class": "wide"}, Drawing(svg(headline_chart(drawn)), label)),
        el("div", {"class": "narrow"}, Drawing(svg(headline_chart(drawn, narrow=True)), label)),
        *([el("p", {"class": "how"}, "Beside these: ", said(told(counted), 600), ".")] if counted else []),
        metric_numbers(metrics),
    ]
    if missing:
        body.append(el("p", {"class": "how"}, "Without a value: ", said(", ".join(missing), 400)))
    readers = reader_table(seen.study) if "scores" in seen.has else None
    return el(
        "section",
        {"class": "headline", "aria-labelledby": "headline"},
        *body,
        *([readers] if readers else []),
    )


def _short(name: object) -> str:
    """A folder by its last part: where it lay says nothing to who reads the page elsewhere."""
    text = str(name)
    return Path(text).name if Path(text).is_absolute() else text
