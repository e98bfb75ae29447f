"""The table of units: what each responds to, and whether that is so; their cards are unit_cards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from saywell.report.card import DESCRIBED, VERIFIED, StudyRows, Unit, read_units
from saywell.report.formats import count, two
from saywell.report.listing import choose_example
from saywell.report.parts import Element, Part, Rendered, clip, el, said, visible
from saywell.report.tables import asked, deciding_scores, selected_descriptions
from saywell.report.unit_cards import Around, score_bar, summary_line, thumbnails, unit_card
from saywell.store.study import Study

NOT_VERIFIED, NONE = "not verified", "no description"
SHOWN = {VERIFIED: 300, NOT_VERIFIED: 50, NONE: 30}
"""Units with a card, by verdict: the best-verified, and a sample of the others."""
EXEMPLARS_SHOWN = {VERIFIED: 8, NOT_VERIFIED: 6, NONE: 4}
RULES = ("ift-literal", "ift-proponent", "text-influence", "nearest", "stepwise", "clip-only")
"""Rules whose scores of sentences a card shows beside those of the study's own."""
_PLACE = {"layer": pl.Int32, "index": pl.Int32, "sign": pl.Int8}


@dataclass(frozen=True)
class UnitVerdicts:
    """Every unit with its description and score, best first; `verdict` sums both up."""

    table: pl.DataFrame

    @property
    def described(self) -> pl.DataFrame:
        """Units that have a description."""
        return self.table.filter(status=DESCRIBED)

    @property
    def verified(self) -> pl.DataFrame:
        """Units whose description held on held-out examples."""
        return self.table.filter(verdict=VERIFIED)

    @property
    def undescribed(self) -> pl.DataFrame:
        """Units without a description; `status` is the reason."""
        return self.table.filter(pl.col("status") != DESCRIBED)


def unit_verdicts(study: Study) -> UnitVerdicts:
    """Units joined with the selected description and its first score, by skill, best first.

    A study without a table of units has those that it describes.
    """
    columns = ("text", "descriptors", "status", "describer", "llm")
    descriptions = selected_descriptions(study, *columns, description="id")
    if "units" in study.manifest.tables:
        units = asked(study, "units").select("id", *_PLACE)
    else:
        nowhere = (pl.lit(None, dtype=kind).alias(name) for name, kind in _PLACE.items())
        units = descriptions.select("unit", *nowhere).rename({"unit": "id"})
    scored = "scores" in study.manifest.tables
    scores = (deciding_scores(study) if scored else pl.DataFrame(schema=_SCORES)).select(
        *("unit", "description", "value", "ci_low", "ci_high", "control", "skill"), scored="status"
    )
    verdict = (
        pl.when(pl.col("status").fill_null("") != DESCRIBED)
        .then(pl.lit(NONE))
        .when(pl.col("scored") == VERIFIED)
        .then(pl.lit(VERIFIED))
        .otherwise(pl.lit(NOT_VERIFIED))
    )
    table = (
        units.join(descriptions, left_on="id", right_on="unit", how="left", maintain_order="left")
        .join(scores, left_on=["id", "description"], right_on=["unit", "description"], how="left")
        .join(_tested(study), left_on="id", right_on="unit", how="left", maintain_order="left")
        .with_columns(scored=pl.coalesce("tested", "scored"))
        .with_columns(verdict=verdict, status=pl.col("status").fill_null("no description: none was written"))
        .sort(
            *("skill", "place", "layer", "index", "sign", "id"),
            descending=[True, False, False, False, True, False],
            nulls_last=True,
        )
    )
    return UnitVerdicts(table)


def _tested(study: Study) -> pl.DataFrame:
    """unit, tested, place: of each hypothesis what came of its test, and where it stands among them."""
    if "hypotheses" not in study.manifest.tables:
        return pl.DataFrame(schema={"unit": pl.String, "tested": pl.String, "place": pl.UInt32})
    own = asked(study, "hypotheses").select("unit", tested="status").unique("unit", maintain_order=True)
    return own.with_row_index("place")


_SCORES: dict[str, Any] = {
    **dict.fromkeys(("unit", "description", "status"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high", "control", "skill"), pl.Float64),
}


def chosen_units(found: UnitVerdicts, first: Collection[str] = ()) -> pl.DataFrame:
    """The units that get a card: `first`, the best-verified, and of the others some from all over."""
    wanted = pl.col("id").is_in(list(first))
    verified = (
        found.verified.with_row_index("_place")
        .filter(wanted | (pl.col("_place") < SHOWN[VERIFIED]))
        .drop("_place")
    )
    unsure = _spread(found.table.filter(verdict=NOT_VERIFIED), SHOWN[NOT_VERIFIED])
    without = found.undescribed.sort("status", "layer", "index", "sign", maintain_order=True)
    samples, room = [], SHOWN[NONE]
    rarest_first = without["status"].value_counts().sort("count", "status")["status"].to_list()
    for row, reason in enumerate(rarest_first):
        # Every reason gets its share; what a rare one leaves over goes to the others.
        samples.append(_spread(without.filter(status=reason), room // (len(rarest_first) - row)))
        room -= samples[-1].height
    return pl.concat([verified, unsure, *samples])


def _spread(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most that many rows, evenly far apart."""
    if table.height <= most:
        return table
    return table[[row * table.height // most for row in range(most)]]


def unit_section(
    study: Study, found: UnitVerdicts, most_bytes: int, first: Mapping[str, str], jpegs: Mapping[str, bytes]
) -> Element:
    """The table with a card per unit; units are left out from its end when they do not fit.

    `first` are the units that the page begins with, and the anchors at which it expects them.
    """
    chosen = chosen_units(found, first)
    cards = read_units(StudyRows(study), chosen["id"].to_list(), examples=max(EXEMPLARS_SHOWN.values()))
    anchors = {unit: first.get(unit, f"u{row}") for row, unit in enumerate(chosen["id"])}
    absent = _absent(chosen)
    table = _Table(cards, found, anchors, Around(picture=thumbnails(jpegs), rules=RULES), absent)
    rows = list(chosen.iter_rows(named=True))
    fits = _that_fit(rows, first, most_bytes, table)
    if len(fits) < len(rows):
        # Links to units that were left out would lead nowhere; without them parts only get smaller.
        table = replace(table, anchors={rows[i]["id"]: anchors[rows[i]["id"]] for i in fits})
        fits = {i: Rendered.of(table.body(rows[i])) for i in fits}
    shown = [rows[i] for i in sorted(fits)]
    return el(
        "section",
        {"aria-labelledby": "h-units"},
        el("h2", {"id": "h-units"}, "Units"),
        el("p", {"class": "how"}, _which(found, shown)),
        _filters(shown),
        el("p", {"id": "shown", "class": "how", "role": "status", "aria-live": "polite"}, ""),
        el(
            "table",
            {"id": "unit-table", "class": "units"},
            el("caption", {"class": "unseen"}, "Units with description and score, best first"),
            el("thead", None, el("tr", None, *_head(absent))),
            *(fits[i] for i in sorted(fits)),
        ),
        el("p", None, el("button", {"id": "more", "type": "button", "hidden": True}, "Show more")),
        needs=("units.css", "units.js", "cards.css", "drawings.css"),
    )


def _that_fit(
    rows: list[dict[str, Any]], first: Collection[str], most_bytes: int, table: _Table
) -> dict[int, Rendered]:
    """Rows whose parts fit into so many bytes, by place.

    Those that the page begins with go first, then samples of what failed: they keep it honest.
    """
    fits: dict[int, Rendered] = {}
    order = [(row["id"] not in first, row["verdict"] == VERIFIED) for row in rows]
    for i in sorted(range(len(rows)), key=lambda i: (order[i], i)):
        part = Rendered.of(table.body(rows[i]))
        if part.size <= most_bytes:
            most_bytes -= part.size
            fits[i] = part
    return fits


def _which(found: UnitVerdicts, shown: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for verdict, words in (
        (VERIFIED, "best verified"),
        (NOT_VERIFIED, "not verified"),
        (NONE, "without a description"),
    ):
        have = sum(row["verdict"] == verdict for row in shown)
        of = found.table.filter(verdict=verdict).height
        if of:
            whole = "all" if have == of else f"{count(have)} of"
            parts.append(f"{whole} {count(of)} {words}")
    scores = (
        " The score is F1 on held-out examples; the tick is its best floor, what a wrong description or a"
        " constant answer reaches. The order is by skill (F1 less that tick) on the same examples, so the"
        " first lines owe part of it to luck."
    )
    scores = "" if "score" in _absent(found.table) else scores
    opened = f"Here are {', '.join(parts)}. Open a line to see the evidence."
    return f"{opened}{scores} The whole tables lie beside this file as Parquet."


_COLUMNS = (
    ("unit", "unit"),
    ("description", "description"),
    ("layer", "layer"),
    ("side", "side"),
    ("score", "F1"),
    ("interval", "interval"),
    ("skill", "skill"),
    ("verdict", "verdict"),
)
_ONLY_WITH = {"layer": ("layer", "side"), "value": ("score", "interval", "skill")}
"""Columns that are there where units have a place in a model, or a score."""


def _absent(units: pl.DataFrame) -> frozenset[str]:
    """The columns of which these units have nothing."""
    empty = (name for name in _ONLY_WITH if units[name].null_count() == units.height)
    return frozenset(column for name in empty for column in _ONLY_WITH[name])


def _head(absent: Collection[str]) -> Iterator[Element]:
    for name, title in _COLUMNS:
        if name not in absent:
            yield el("th", {"scope": "col", "class": f"c-{name}", "data-sort": name}, title)


def _filters(rows: Sequence[Mapping[str, Any]]) -> Element:
    layers = sorted({row["layer"] for row in rows if row["layer"] is not None})
    sides = {row["sign"] for row in rows if row["sign"] is not None}
    words = {"type": "search", "id": "f-search", "placeholder": "a word in descriptions and examples"}
    return el(
        "div",
        {"class": "filters", "id": "filters", "role": "search", "hidden": True},
        el("label", None, "Search", el("input", words)),
        _choice("verdict", "Verdict", [VERIFIED, NOT_VERIFIED, NONE]),
        *([_choice("side", "Side", ["high", "low"])] if sides else []),
        *([_choice("layer", "Layer", [str(layer) for layer in layers])] if layers else []),
    )


def _choice(name: str, title: str, values: list[str]) -> Element:
    options = [el("option", {"value": value}, value) for value in values]
    every = el("option", {"value": ""}, "all")
    return el("label", None, title, el("select", {"id": f"f-{name}", "data-filter": name}, every, *options))


@dataclass(frozen=True)
class _Table:
    """What the lines of the table are made from."""

    cards: Mapping[str, Unit]
    found: UnitVerdicts
    anchors: Mapping[str, str]
    around: Around
    absent: frozenset[str]
    """Columns that it does without."""

    def body(self, row: Mapping[str, Any]) -> Element:
        """The line of a unit, and its card, folded."""
        unit = row["id"]
        verdict, side = row["verdict"], {None: "", -1: "low"}.get(row["sign"], "high")
        card = self.cards[unit]
        card = replace(
            card,
            exemplars=card.exemplars[: EXEMPLARS_SHOWN[verdict]],
            ranges=tuple(part._replace(examples=part.examples[:1]) for part in card.ranges),
            near_misses={why: found[:1] for why, found in card.near_misses.items()},
        )
        said_first = card.to_begin_with[0] if card.sentences and card.texts else row["text"]
        words = said(said_first, 160) if row["text"] else el("em", None, said(card.first.why_not, 160))
        bar = score_bar(row["value"], row["ci_low"], row["ci_high"], row["control"])
        cells = {
            "description": el("td", {"class": "c-description"}, words),
            "layer": el("td", {"class": "c-layer n"}, "" if row["layer"] is None else str(row["layer"])),
            "side": el("td", {"class": "c-side"}, side),
            "score": el("td", {"class": "c-score n"}, two(row["value"])),
            "interval": el("td", {"class": "c-interval"}, bar),
            "skill": el("td", {"class": "c-skill n"}, two(row["skill"])),
            "verdict": el("td", {"class": "c-verdict"}, el("span", {"class": mark(verdict)}, verdict)),
        }
        shown = [cell for name, cell in cells.items() if name not in self.absent]
        first = choose_example(card.exemplars, [row["text"] or ""], set())
        around = replace(self.around, other=self._other_side(row), link=self._link)
        inside = el(
            "details", None, el("summary", None, summary_line(card, first, around)), unit_card(card, around)
        )
        # An empty key sorts last in both directions; numbers are written in full.
        data = {
            "data-unit": visible(clip(unit, 80)),
            "data-description": visible((row["text"] or "").lower()[:80]),
            "data-layer": "" if row["layer"] is None else str(row["layer"]),
            "data-side": side,
            "data-verdict": verdict,
            "data-index": "" if row["index"] is None else str(row["index"]),
            "data-score": "" if row["value"] is None else f"{row['value']:.6f}",
            "data-skill": "" if row["skill"] is None else f"{row['skill']:.6f}",
            "data-interval": "" if row["ci_low"] is None else f"{row['ci_low']:.6f}",
        }
        name = el("th", {"scope": "row", "class": "c-unit"}, said(unit, 60))
        folded = el("td", {"colspan": str(len(shown) + 1)}, inside)
        return el(
            "tbody",
            {"id": self.anchors[unit], **data},
            el("tr", {"class": "line"}, name, *shown),
            el("tr", {"class": "card"}, folded),
        )

    def _link(self, unit: str) -> Part:
        anchor, name = self.anchors.get(unit), said(unit, 60)
        return name if anchor is None else el("a", {"href": f"#{anchor}"}, name)

    def _other_side(self, row: Mapping[str, Any]) -> Part | None:
        """What is known of the same unit going the other way; None for what has no sides."""
        if row["sign"] is None or row["index"] is None:
            return None
        place = (row["layer"], row["index"], -row["sign"])
        other = self._by_place.get(place)
        if other is None:
            return None
        title = f"The same unit {'going low' if row['sign'] > 0 else 'going high'}"
        words = said(other["text"] or other["status"].removeprefix("no description: "), 160)
        anchor = self.anchors.get(other["id"])
        link = title if anchor is None else el("a", {"href": f"#{anchor}"}, title)
        return el("span", None, link, ": ", words)

    @cached_property
    def _by_place(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        rows = self.found.table.select("layer", "index", "sign", "id", "text", "status")
        return {(row["layer"], row["index"], row["sign"]): row for row in rows.iter_rows(named=True)}


def mark(verdict: str) -> str:
    """The class of a verdict's badge."""
    return {VERIFIED: "v v-verified", NOT_VERIFIED: "v v-not", NONE: "v v-no"}.get(verdict, "v")
