"""The table of units and the card of each: what it responds to, and whether that is so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from saywell.report.formats import count, interval, level, small, two
from saywell.report.parts import Element, Part, Rendered, clip, el, said, visible
from saywell.store.study import Study

VERIFIED, NOT_VERIFIED, NONE = "verified", "not verified", "no description"
SHOWN = {VERIFIED: 300, NOT_VERIFIED: 50, NONE: 30}
"""Units with a card, by verdict: the best-verified, and a sample of the others."""
EXEMPLARS = {VERIFIED: 8, NOT_VERIFIED: 6, NONE: 4}
MOST_CHARACTERS = 280
"""Characters of a sentence that a card shows, the span among them."""
LEVELS = 5


@dataclass(frozen=True)
class Verdicts:
    """Every unit with its description and score, best first; `verdict` sums both up."""

    table: pl.DataFrame

    @property
    def described(self) -> pl.DataFrame:
        """Units that have a description."""
        return self.table.filter(status="described")

    @property
    def verified(self) -> pl.DataFrame:
        """Units whose description held on held-out sentences."""
        return self.table.filter(verdict=VERIFIED)

    @property
    def undescribed(self) -> pl.DataFrame:
        """Units without a description; `status` is the reason."""
        return self.table.filter(pl.col("status") != "described")


def verdicts(study: Study) -> Verdicts:
    """Units joined with the selected description and its first score, by skill, best first."""
    descriptions = (
        study.descriptions.sort("selected", "rank", descending=[True, False])
        .unique("unit", keep="first", maintain_order=True)
        .select("unit", "text", "descriptors", "status", "describer", "llm", description="id")
    )
    scores = (
        study.verdicts()
        .select("unit", "description", "value", "ci_low", "ci_high", "control", "n", "scorer",
                "floor", "skill", "skill_low", "skill_high", "q", scored="status")
    )  # fmt: skip
    verdict = (
        pl.when(pl.col("status").fill_null("") != "described").then(pl.lit(NONE))
        .when(pl.col("scored") == VERIFIED).then(pl.lit(VERIFIED))
        .otherwise(pl.lit(NOT_VERIFIED))
    )  # fmt: skip
    table = (
        study.units.join(descriptions, left_on="id", right_on="unit", how="left")
        .join(scores, left_on=["id", "description"], right_on=["unit", "description"], how="left")
        .with_columns(verdict=verdict,
                      status=pl.col("status").fill_null("no description: none was written"))
        .sort("skill", "layer", "index", "sign", descending=[True, False, False, True],
              nulls_last=True)
    )  # fmt: skip
    return Verdicts(table)


def chosen_units(found: Verdicts) -> pl.DataFrame:
    """The units that get a card: the best-verified, and of the others some from all over."""
    verified = found.verified.head(SHOWN[VERIFIED])
    unsure = _spread(found.table.filter(verdict=NOT_VERIFIED), SHOWN[NOT_VERIFIED])
    without = found.undescribed.sort("status", "layer", "index", "sign")
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


@dataclass(frozen=True)
class Evidence:
    """What the cards of the chosen units show, by unit."""

    exemplars: dict[str, list[dict[str, Any]]]
    descriptors: dict[str, list[dict[str, Any]]]
    readings: dict[str, list[dict[str, Any]]]
    """Scores by every reader, with all floors."""
    against: dict[str, list[dict[str, Any]]]
    """Counterexamples."""
    contrasts: dict[str, list[dict[str, Any]]]
    meanings: dict[str, list[dict[str, Any]]]


def read_evidence(study: Study, chosen: pl.DataFrame) -> Evidence:
    """Strongest calibration sentences and enriched descriptors of the chosen units."""
    has = study.manifest.tables
    ids = chosen["id"].implode()
    exemplars: dict[str, list[dict[str, Any]]] = {}
    if "exemplars" in has:
        rows = (
            study.exemplars.filter(
                pl.col("unit").is_in(ids),
                pl.col("rank") < max(EXEMPLARS.values()),
                pl.col("split") == "calibration",
            )
            .join(study.examples.select("id", "text"), left_on="example", right_on="id")
            .join(chosen.select("id", "descriptors"), left_on="unit", right_on="id")
        )
        if "tags" in has:
            tags = study.table("tags").select("example", "descriptor")
            carried = tags.group_by("example").agg(tags="descriptor")
            rows = rows.join(carried, on="example", how="left").with_columns(
                carries=pl.col("tags").fill_null([]).list.set_intersection(
                    pl.col("descriptors").fill_null([])).list.len() > 0
            )  # fmt: skip
        else:
            rows = rows.with_columns(carries=pl.lit(False))
        exemplars = _by_unit(rows.sort("unit", "rank"))
    descriptors: dict[str, list[dict[str, Any]]] = {}
    if "associations" in has and "descriptors" in has:
        descriptors = _by_unit(
            study.table("associations")
            .filter(pl.col("unit").is_in(ids), pl.col("split") == "calibration",
                    pl.col("enriched") | pl.col("composed"))
            .join(study.table("descriptors").select("id", "text"), left_on="descriptor",
                  right_on="id")
            .sort("unit", "lift", descending=[False, True])
        )  # fmt: skip
    return Evidence(
        exemplars, descriptors, _readings(study, ids),
        _with_texts(study, "counterexamples", ids, ["unit", "kind", "rank"]),
        _with_texts(study, "contrasts", ids, ["unit", "rank"]),
        _of_units(study, "meanings", ids, ["unit", "part"]),
    )  # fmt: skip


def _readings(study: Study, ids: pl.Series) -> dict[str, list[dict[str, Any]]]:
    if "floors" not in study.manifest.tables:
        return {}
    floors = (
        study.table("floors").filter(pl.col("unit").is_in(ids))
        .group_by("unit", "description", "scorer", maintain_order=True)
        .agg(floors=pl.struct("floor", "value"))
    )  # fmt: skip
    rows = study.scores.filter(pl.col("unit").is_in(ids)).join(
        floors, on=["unit", "description", "scorer"], maintain_order="left"
    )
    return _by_unit(rows)


def _of_units(
    study: Study, table: str, ids: pl.Series, order: list[str]
) -> dict[str, list[dict[str, Any]]]:
    if table not in study.manifest.tables:
        return {}
    return _by_unit(study.table(table).filter(pl.col("unit").is_in(ids)).sort(order))


def _with_texts(
    study: Study, table: str, ids: pl.Series, order: list[str]
) -> dict[str, list[dict[str, Any]]]:
    if table not in study.manifest.tables:
        return {}
    texts = study.examples.select("id", "text")
    rows = study.table(table).filter(pl.col("unit").is_in(ids))
    return _by_unit(rows.join(texts, left_on="example", right_on="id").sort(order))


def _by_unit(rows: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        grouped.setdefault(row["unit"], []).append(row)
    return grouped


def unit_section(study: Study, found: Verdicts, most_bytes: int) -> Element:
    """The table with a card per unit; units are left out from its end when they do not fit."""
    chosen = chosen_units(found)
    evidence = read_evidence(study, chosen)
    others = {row["id"]: row for row in found.table.select("id", "layer", "index", "sign", "text",
              "status", "verdict").filter(pl.struct("layer", "index").is_in(
                  chosen.select(pl.struct("layer", "index")).to_series().implode()
              )).iter_rows(named=True)}  # fmt: skip
    anchors = {unit: f"u{row}" for row, unit in enumerate(chosen["id"])}
    rows = list(chosen.iter_rows(named=True))
    fits = _that_fit(rows, most_bytes, lambda row: _unit(row, anchors, others, evidence))
    if len(fits) < len(rows):
        # Links to units that were left out would lead nowhere; without them parts only get smaller.
        anchors = {rows[i]["id"]: anchors[rows[i]["id"]] for i in fits}
        fits = {i: Rendered.of(_unit(rows[i], anchors, others, evidence)) for i in fits}
    bodies = [fits[i] for i in sorted(fits)]
    shown = pl.DataFrame({"verdict": [rows[i]["verdict"] for i in sorted(fits)]},
                         schema={"verdict": pl.String})  # fmt: skip
    return el(
        "section", {"aria-labelledby": "h-units"},
        el("h2", {"id": "h-units"}, "Units"),
        el("p", {"class": "how"}, _which(found, shown)),
        _filters([rows[i] for i in sorted(fits)]),
        el("p", {"id": "shown", "class": "how", "role": "status", "aria-live": "polite"}, ""),
        el("table", {"id": "unit-table", "class": "units"},
           el("caption", {"class": "unseen"}, "Units with description and score, best first"),
           el("thead", None, el("tr", None, *_head())), *bodies),
        needs=("units.css", "units.js", "drawings.css"),
    )  # fmt: skip


def _that_fit(
    rows: list[dict[str, Any]], most_bytes: int, make: Callable[[dict[str, Any]], Part]
) -> dict[int, Rendered]:
    """Rows whose parts fit into so many bytes, by place. Samples go first: they keep a page honest."""
    fits: dict[int, Rendered] = {}
    for i in sorted(range(len(rows)), key=lambda i: (rows[i]["verdict"] == VERIFIED, i)):
        part = Rendered.of(make(rows[i]))
        if part.size <= most_bytes:
            most_bytes -= part.size
            fits[i] = part
    return fits


def _which(found: Verdicts, shown: pl.DataFrame) -> str:
    parts = []
    for verdict, words in ((VERIFIED, "best verified"), (NOT_VERIFIED, "not verified"),
                           (NONE, "without a description")):  # fmt: skip
        have = shown.filter(verdict=verdict).height
        of = found.table.filter(verdict=verdict).height
        if of:
            whole = "all" if have == of else f"{count(have)} of"
            parts.append(f"{whole} {count(of)} {words}")
    return (
        "Here are " + ", ".join(parts) + ". Open a line to see the evidence. The score is F1 on"
        " held-out sentences; the tick is its best floor, what a wrong description or a constant answer"
        " reaches. The order is by skill (F1 less that tick) on the same sentences, so the first lines"
        " owe part of it to luck."
        " The whole tables lie beside this file as Parquet."
    )


_COLUMNS = (
    ("unit", "unit"), ("description", "description"), ("layer", "layer"), ("side", "side"),
    ("score", "F1"), ("interval", ""), ("skill", "skill"), ("verdict", "verdict"),
)  # fmt: skip


def _head() -> Iterator[Element]:
    for name, title in _COLUMNS:
        yield el(
            "th", {"scope": "col", "class": f"c-{name}", "data-sort": name}, title or "interval"
        )


def _filters(rows: list[dict[str, Any]]) -> Element:
    layers = sorted({row["layer"] for row in rows if row["layer"] is not None})
    return el(
        "div", {"class": "filters", "id": "filters", "role": "search", "hidden": True},
        el("label", None, "Search", el("input", {"type": "search", "id": "f-search",
           "placeholder": "a word in descriptions and sentences"})),
        _choice("verdict", "Verdict", [VERIFIED, NOT_VERIFIED, NONE]),
        _choice("side", "Side", ["high", "low"]),
        _choice("layer", "Layer", [str(layer) for layer in layers]),
    )  # fmt: skip


def _choice(name: str, title: str, values: list[str]) -> Element:
    options = [el("option", {"value": value}, value) for value in values]
    return el("label", None, title, el("select", {"id": f"f-{name}", "data-filter": name},
              el("option", {"value": ""}, "all"), *options))  # fmt: skip


def _unit(
    row: dict[str, Any], anchors: dict[str, str], others: dict[str, Any], evidence: Evidence
) -> Element:
    unit, verdict = row["id"], row["verdict"]
    side = "high" if row["sign"] > 0 else "low"
    exemplars = evidence.exemplars.get(unit, [])[: EXEMPLARS[verdict]]
    cells = [
        el("th", {"scope": "row", "class": "c-unit"}, said(unit, 60)),
        el("td", {"class": "c-description"},
           said(row["text"], 160) if row["text"] else el("em", None, said(_reason(row), 160))),
        el("td", {"class": "c-layer n"}, str(row["layer"])),
        el("td", {"class": "c-side"}, side),
        el("td", {"class": "c-score n"}, two(row["value"])),
        el("td", {"class": "c-interval"},
           score_bar(row["value"], row["ci_low"], row["ci_high"], row["control"])),
        el("td", {"class": "c-skill n"}, two(row["skill"])),
        el("td", {"class": "c-verdict"}, el("span", {"class": "v v-" + verdict.split()[0]}, verdict)),
    ]  # fmt: skip
    # An empty key sorts last in both directions; numbers are written in full.
    data = {
        "data-unit": visible(clip(unit, 80)), "data-description": visible((row["text"] or "").lower()[:80]),
        "data-layer": str(row["layer"]), "data-side": side, "data-verdict": verdict,
        "data-index": str(row["index"]),
        "data-score": "" if row["value"] is None else f"{row['value']:.6f}",
        "data-skill": "" if row["skill"] is None else f"{row['skill']:.6f}",
        "data-interval": "" if row["ci_low"] is None else f"{row['ci_low']:.6f}",
    }  # fmt: skip
    summary = (
        sentence_line(exemplars[0], row, exemplars) if exemplars
        else el("span", {"class": "none"}, "no sentence on which it fires")
    )  # fmt: skip
    card = el(
        "tr", {"class": "card"},
        el("td", {"colspan": str(len(_COLUMNS))},
           el("details", None, el("summary", None, summary),
              _card(row, exemplars, anchors, others, evidence))),
    )  # fmt: skip
    return el("tbody", {"id": anchors[unit], **data}, el("tr", {"class": "line"}, *cells), card)


def _card(
    row: dict[str, Any], exemplars: list[dict[str, Any]], anchors: dict[str, str],
    others: dict[str, Any], evidence: Evidence,
) -> Element:  # fmt: skip
    parts: list[Part] = []
    if row["value"] is not None:
        parts.append(verdict_line(row))
    found = evidence.descriptors.get(row["id"], [])[:8]
    if found:
        parts.append(
            el("table", {"class": "tight"},
               el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, name) for name in
                  ("descriptor", "hits", "lift", "q", "rule")))),
               el("tbody", None, *(_descriptor(one) for one in found)))
        )  # fmt: skip
    if exemplars:
        items = [_exemplar(one, row, exemplars) for one in exemplars]
        parts.append(el("ol", {"class": "exemplars"}, *items))
        if any(one["carries"] for one in exemplars):
            parts.append(el("p", {"class": "how"}, "● carries a descriptor of the description"))
    parts += comparisons(row["id"], evidence)
    parts += [level_line(row), histogram(row)]
    parts.append(_other_side(row, anchors, others))
    return el("div", {"class": "inside"}, *parts)


def verdict_line(row: dict[str, Any], of: str = "sentences") -> Element:
    """A unit's score with its best floor, its skill, and the verdict; `of` is what was held out."""
    words = f"F1 {two(row['value'])} ({interval(row['ci_low'], row['ci_high'])})"
    if row["skill"] is None:
        words += f": too few held-out {of} fire it for a test: "
    else:
        words += (
            f" on {count(row['n'])} held-out {of}; its best floor, \u201c{row['floor']}\u201d,"
            f" reaches {two(row['control'])}. Skill {two(row['skill'])}"
            f" ({interval(row['skill_low'], row['skill_high'])}), q {small(row['q'])}: "
        )
    return el("p", {"class": "verdict"}, words, el("b", None, row["verdict"]), ".")


def comparisons(unit: str, evidence: Evidence) -> Iterator[Element]:
    """What else a description can be held against: sentences, readers and floors, other meanings."""
    for kind, title in (
        ("unforeseen", "It fires here, and the description does not say so"),
        ("silent", "The description says that it fires here, and it does not"),
    ):
        found = [one for one in evidence.against.get(unit, []) if one["kind"] == kind]
        if found:
            yield _plain_list(title, found)
    if unit in evidence.contrasts:
        yield _plain_list(
            "For comparison, sentences on which it does not fire", evidence.contrasts[unit]
        )
    meanings = evidence.meanings.get(unit, [])
    if meanings:
        yield _folded("Several meanings", _table(
            ("part", "description", "exemplars", "F1", "over one description"),
            [("all together" if one["part"] == 0 else str(one["part"]), one["text"],
              str(one["exemplars"]), two(one["value"]),
              f"{two(one['difference'])} ({interval(one['difference_low'], one['difference_high'])})")
             for one in meanings]))  # fmt: skip
    readings = evidence.readings.get(unit, [])
    if readings:
        names = [one["floor"] for one in readings[0]["floors"]]
        yield _folded("Every reader, every floor", _table(
            ("score", "F1", "skill", *names),
            [(one["scorer"], two(one["value"]), two(one["skill"]),
              *(two({f["floor"]: f["value"] for f in one["floors"]}.get(name)) for name in names))
             for one in readings]))  # fmt: skip


def _folded(title: str, inside: Element) -> Element:
    return el("details", {"class": "more"}, el("summary", None, title), inside)


def _plain_list(title: str, found: list[dict[str, Any]]) -> Element:
    items = (
        el("li", None, el("span", {"class": "n"}, level(one["activation"])),
           el("span", {"class": "dot"}, ""), el("bdi", {"class": "sentence"}, clip(one["text"], 200)))
        for one in found
    )  # fmt: skip
    return _folded(title, el("ol", {"class": "exemplars"}, *items))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Element:
    return el(
        "table", {"class": "tight"},
        el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, name) for name in head))),
        el("tbody", None, *(
            el("tr", None, el("th", {"scope": "row"}, said(first, 60)),
               *(el("td", {"class": "n"}, said(cell, 160)) for cell in rest))
            for first, *rest in rows)),
    )  # fmt: skip


def histogram(row: dict[str, Any]) -> Element:
    """How often a unit gives which value; what fires is dark. Heights are square roots of counts."""
    counts = row.get("histogram") or []
    low, high = row["minimum"], row["maximum"]
    if not counts or high <= low:
        return el("p", None, "")
    top, width = max(counts) ** 0.5, 160 / len(counts)
    bars: list[Part] = []
    for step, number in enumerate(counts):
        tall = 30 * number**0.5 / top
        fires = low + (step + 1) * (high - low) / len(counts) > row["threshold"]
        bars.append(el("rect", {"class": "hf" if fires else "hs", "x": f"{step * width:.1f}",
                                "y": f"{30 - tall:.1f}", "width": f"{width - 1:.1f}",
                                "height": f"{tall:.1f}"}))  # fmt: skip
    sign = row["sign"]
    ends = f"from {level(sign * low)} to {level(sign * high)}"
    label = f"Histogram of its values on calibration sentences, {ends}; the dark part fires"
    return el("p", {"class": "how"},
              el("svg", {"class": "hist", "viewBox": "0 0 160 30", "role": "img",
                         "aria-label": label}, *bars),
              f" values {ends}, heights as square roots; the dark part fires")  # fmt: skip


def _descriptor(one: dict[str, Any]) -> Element:
    rule = [name for name in ("enriched", "composed") if one[name]]
    return el("tr", None, el("th", {"scope": "row"}, said(one["text"], 80)),
              el("td", {"class": "n"}, f"{one['hits']} of {one['exemplars']}"),
              el("td", {"class": "n"}, f"{one['lift']:.1f}"),
              el("td", {"class": "n"}, small(one["q"])), el("td", None, ", ".join(rule)))  # fmt: skip


def _exemplar(one: dict[str, Any], row: dict[str, Any], all_: list[dict[str, Any]]) -> Element:
    dot = el(
        "span", {"class": "dot", "title": "carries a descriptor"}, "●" if one["carries"] else ""
    )
    return el("li", None, el("span", {"class": "n"}, level(one["activation"])), dot,
              sentence_line(one, row, all_))  # fmt: skip


def sentence_line(one: dict[str, Any], row: dict[str, Any], all_: list[dict[str, Any]]) -> Element:
    """The sentence, cut around its span, and the span shaded by how strong it is."""
    text, start, end = one["text"], one["span_start"] or 0, one["span_end"] or 0
    start, end = max(0, min(start, len(text))), max(0, min(end, len(text)))
    end = min(end, start + MOST_CHARACTERS // 2)
    room = MOST_CHARACTERS - (end - start)
    first = 0 if len(text) <= MOST_CHARACTERS else max(0, start - room // 2)
    last = min(len(text), first + MOST_CHARACTERS)
    before, after = text[first:start], text[end:last]
    strength = row["sign"] * one["activation"]
    top = max(row["sign"] * other["activation"] for other in all_)
    base = min(row["threshold"] or 0.0, top)
    share = (strength - base) / (top - base) if top > base else 1.0
    shade = 1 + round(max(0.0, min(1.0, share)) * (LEVELS - 1))
    inner: list[Part | str] = ["…" if first else "", before]
    if end > start:
        inner.append(el("mark", {"class": f"s{shade}"}, text[start:end]))
    inner += [after, "…" if last < len(text) else ""]
    return el("bdi", {"class": "sentence"}, *inner)


def level_line(row: dict[str, Any]) -> Element:
    """From which value on a unit fires, how often that is, and which module it belongs to."""
    if row["state"] != "ok":
        words = {
            "constant": "It gives one value on every sentence.",
            "flat": "Too many sentences reach its top value to call any of them exemplars.",
        }
        return el("p", {"class": "how"}, words.get(row["state"], f"State: {row['state']}."))
    sign = row["sign"]
    return el("p", {"class": "how"}, f"Fires {'at or above' if sign > 0 else 'at or below'}"
              f" {level(sign * row['threshold'])}, on {100 * row['fires']:.1f} % of calibration"
              f" sentences; mean {level(sign * row['mean'])}, standard deviation"
              f" {level(row['std'])}. Module ", el("code", None, said(row["name"], 120)), ".")  # fmt: skip


def _other_side(row: dict[str, Any], anchors: dict[str, str], others: dict[str, Any]) -> Element:
    for unit, other in others.items():
        same = (other["layer"], other["index"]) == (row["layer"], row["index"])
        if same and other["sign"] == -row["sign"]:
            name = "going low" if row["sign"] > 0 else "going high"
            words = said(other["text"] or _reason(other), 160)
            if unit in anchors:
                link = el("a", {"href": f"#{anchors[unit]}"}, f"The same unit {name}")
                return el("p", {"class": "how"}, link, ": ", words)
            return el("p", {"class": "how"}, f"The same unit {name}: ", words)
    return el("p", {"class": "how"}, "The other side was not studied.")


def _reason(row: dict[str, Any]) -> str:
    return str(row["status"]).removeprefix("no description: ")


def score_bar(
    value: float | None, low: float | None, high: float | None, control: float | None
) -> Element:
    """A bar from 0 to 1: interval, value as a dot, control as a tick. Empty without a value."""
    if value is None:
        return el("span", None, "")

    def at(share: float) -> str:
        return f"{1 + 98 * min(1.0, max(0.0, share)):.1f}"

    shapes: list[Part] = [el("path", {"class": "t", "d": "M1 6h98"})]
    if low is not None and high is not None:
        shapes.append(el("path", {"class": "i", "d": f"M{at(low)} 6H{at(high)}"}))
    if control is not None:
        shapes.append(el("path", {"class": "c", "d": f"M{at(control)} 1v10"}))
    shapes.append(el("circle", {"class": "p", "cx": at(value), "cy": "6", "r": "2.6"}))
    return el("svg", {"class": "sb", "viewBox": "0 0 100 12", "aria-hidden": "true"}, *shapes)
