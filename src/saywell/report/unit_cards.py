"""The card of a unit: what it responds to, with the evidence for and against its description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.report.formats import count, interval, level, small, two
from saywell.report.parts import Element, Part, clip, el, said
from saywell.store.records import EXCERPT, Example, reader_name
from saywell.store.study import Study

VERIFIED, NOT_VERIFIED, NONE = "verified", "not verified", "no description"
EXEMPLARS_SHOWN = {VERIFIED: 8, NOT_VERIFIED: 6, NONE: 4}


LEVELS = 5


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
    """Strongest describe sentences and enriched descriptors of the chosen units."""
    has = study.manifest.tables
    ids = chosen["id"].implode()
    exemplars: dict[str, list[dict[str, Any]]] = {}
    if "exemplars" in has:
        rows = (
            study.exemplars.filter(
                pl.col("unit").is_in(ids),
                pl.col("rank") < max(EXEMPLARS_SHOWN.values()),
                pl.col("part") == DESCRIBE,
            )
            .join(study.examples.select("id", "text"), left_on="example", right_on="id")
            .join(chosen.select("id", "descriptors"), left_on="unit", right_on="id")
        )
        if "tags" in has:
            tags = study.table("tags").select("example", "descriptor")
            carried = tags.group_by("example").agg(tags="descriptor")
            rows = rows.join(carried, on="example", how="left").with_columns(
                carries=pl.col("tags")
                .fill_null([])
                .list.set_intersection(pl.col("descriptors").fill_null([]))
                .list.len()
                > 0
            )
        else:
            rows = rows.with_columns(carries=pl.lit(False))
        exemplars = _by_unit(rows.sort("unit", "rank"))
    descriptors: dict[str, list[dict[str, Any]]] = {}
    if "associations" in has and "descriptors" in has:
        descriptors = _by_unit(
            study.table("associations")
            .filter(
                pl.col("unit").is_in(ids), pl.col("part") == DESCRIBE, pl.col("enriched") | pl.col("composed")
            )
            .join(study.table("descriptors").select("id", "text"), left_on="descriptor", right_on="id")
            .sort("unit", "lift", descending=[False, True])
        )
    return Evidence(
        exemplars,
        descriptors,
        _readings(study, ids),
        _with_texts(study, "counterexamples", ids, ["unit", "kind", "rank"]),
        _with_texts(study, "contrasts", ids, ["unit", "rank"]),
        _of_units(study, "meanings", ids, ["unit", "part"]),
    )


def _readings(study: Study, ids: pl.Series) -> dict[str, list[dict[str, Any]]]:
    if "floors" not in study.manifest.tables:
        return {}
    floors = (
        study.table("floors")
        .filter(pl.col("unit").is_in(ids))
        .group_by("unit", "description", "measure", "reader", maintain_order=True)
        .agg(floors=pl.struct("floor", "value"))
    )
    rows = study.scores.filter(pl.col("unit").is_in(ids)).join(
        floors, on=["unit", "description", "measure", "reader"], maintain_order="left"
    )
    return _by_unit(rows)


def _of_units(study: Study, table: str, ids: pl.Series, order: list[str]) -> dict[str, list[dict[str, Any]]]:
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


def unit_card(
    row: dict[str, Any],
    exemplars: list[dict[str, Any]],
    anchors: dict[str, str],
    others: dict[str, Any],
    evidence: Evidence,
) -> Element:
    """Everything there is on one unit; `anchors` are the places of units on this page, by id."""
    parts: list[Part] = []
    if row["value"] is not None:
        parts.append(verdict_line(row))
    found = evidence.descriptors.get(row["id"], [])[:8]
    if found:
        parts.append(
            el(
                "table",
                {"class": "tight"},
                el(
                    "thead",
                    None,
                    el(
                        "tr",
                        None,
                        *(
                            el("th", {"scope": "col"}, name)
                            for name in ("descriptor", "hits", "lift", "q", "rule")
                        ),
                    ),
                ),
                el("tbody", None, *(_descriptor(one) for one in found)),
            )
        )
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
        yield _plain_list("For comparison, sentences on which it does not fire", evidence.contrasts[unit])
    meanings = evidence.meanings.get(unit, [])
    if meanings:
        yield _folded(
            "Several meanings",
            _table(
                ("part", "description", "exemplars", "F1", "over one description"),
                [
                    (
                        "all together" if one["part"] == 0 else str(one["part"]),
                        one["text"],
                        str(one["exemplars"]),
                        two(one["value"]),
                        f"{two(one['difference'])}"
                        f" ({interval(one['difference_low'], one['difference_high'])})",
                    )
                    for one in meanings
                ],
            ),
        )
    readings = evidence.readings.get(unit, [])
    if readings:
        names = list(dict.fromkeys(f["floor"] for one in readings for f in one["floors"]))
        yield _folded(
            "Every reader, every floor",
            _table(
                ("reader", "F1", "skill", *names),
                [
                    (
                        reader_name(one["reader"]),
                        two(one["value"]),
                        two(one["skill"]),
                        *(two({f["floor"]: f["value"] for f in one["floors"]}.get(name)) for name in names),
                    )
                    for one in readings
                ],
            ),
        )


def _folded(title: str, inside: Element) -> Element:
    return el("details", {"class": "more"}, el("summary", None, title), inside)


def _plain_list(title: str, found: list[dict[str, Any]]) -> Element:
    items = (
        el(
            "li",
            None,
            el("span", {"class": "n"}, level(one["activation"])),
            el("span", {"class": "dot"}, ""),
            el("bdi", {"class": "sentence"}, clip(one["text"], 200)),
        )
        for one in found
    )
    return _folded(title, el("ol", {"class": "exemplars"}, *items))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Element:
    return el(
        "table",
        {"class": "tight"},
        el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, name) for name in head))),
        el(
            "tbody",
            None,
            *(
                el(
                    "tr",
                    None,
                    el("th", {"scope": "row"}, said(first, 60)),
                    *(el("td", {"class": "n"}, said(cell, 160)) for cell in rest),
                )
                for first, *rest in rows
            ),
        ),
    )


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
        bars.append(
            el(
                "rect",
                {
                    "class": "hf" if fires else "hs",
                    "x": f"{step * width:.1f}",
                    "y": f"{30 - tall:.1f}",
                    "width": f"{width - 1:.1f}",
                    "height": f"{tall:.1f}",
                },
            )
        )
    sign = row["sign"]
    ends = f"from {level(sign * low)} to {level(sign * high)}"
    label = f"Histogram of its values on describe sentences, {ends}; the dark part fires"
    return el(
        "p",
        {"class": "how"},
        el("svg", {"class": "hist", "viewBox": "0 0 160 30", "role": "img", "aria-label": label}, *bars),
        f" values {ends}, heights as square roots; the dark part fires",
    )


def _descriptor(one: dict[str, Any]) -> Element:
    rule = [name for name in ("enriched", "composed") if one[name]]
    return el(
        "tr",
        None,
        el("th", {"scope": "row"}, said(one["text"], 80)),
        el("td", {"class": "n"}, f"{one['hits']} of {one['exemplars']}"),
        el("td", {"class": "n"}, f"{one['lift']:.1f}"),
        el("td", {"class": "n"}, small(one["q"])),
        el("td", None, ", ".join(rule)),
    )


def _exemplar(one: dict[str, Any], row: dict[str, Any], all_: list[dict[str, Any]]) -> Element:
    dot = el("span", {"class": "dot", "title": "carries a descriptor"}, "●" if one["carries"] else "")
    return el(
        "li", None, el("span", {"class": "n"}, level(one["activation"])), dot, sentence_line(one, row, all_)
    )


def sentence_line(one: dict[str, Any], row: dict[str, Any], all_: list[dict[str, Any]]) -> Element:
    """The sentence, cut around its span, and the span shaded by how strong it is."""
    strength = row["sign"] * one["activation"]
    top = max(row["sign"] * other["activation"] for other in all_)
    base = min(row["threshold"] or 0.0, top)
    share = (strength - base) / (top - base) if top > base else 1.0
    shade = 1 + round(max(0.0, min(1.0, share)) * (LEVELS - 1))
    span = (one["span_start"] or 0, one["span_end"] or 0)
    return marked_sentence(Example("", one["text"], None, span), f"s{shade}")


def marked_sentence(example: Example, shade: str) -> Element:
    """A sentence, cut around its responsible part, which is marked where there is one."""
    shown = example.cut(EXCERPT)
    if shown.span is None:
        return el("bdi", {"class": "sentence"}, shown.text)
    start, end = shown.span
    mark = el("mark", {"class": shade}, shown.text[start:end])
    return el("bdi", {"class": "sentence"}, shown.text[:start], mark, shown.text[end:])


def level_line(row: dict[str, Any]) -> Element:
    """From which value on a unit fires, how often that is, and which module it belongs to."""
    if row["state"] != "ok":
        words = {
            "constant": "It gives one value on every sentence.",
            "flat": "Too many sentences reach its top value to call any of them exemplars.",
        }
        return el("p", {"class": "how"}, words.get(row["state"], f"State: {row['state']}."))
    sign = row["sign"]
    return el(
        "p",
        {"class": "how"},
        f"Fires {'at or above' if sign > 0 else 'at or below'}"
        f" {level(sign * row['threshold'])}, on {100 * row['fires']:.1f} % of describe"
        f" sentences; mean {level(sign * row['mean'])}, standard deviation"
        f" {level(row['std'])}. Module ",
        el("code", None, said(row["name"], 120)),
        ".",
    )


def _other_side(row: dict[str, Any], anchors: dict[str, str], others: dict[str, Any]) -> Element:
    for unit, other in others.items():
        same = (other["layer"], other["index"]) == (row["layer"], row["index"])
        if same and other["sign"] == -row["sign"]:
            name = "going low" if row["sign"] > 0 else "going high"
            words = said(other["text"] or why_not(other), 160)
            if unit in anchors:
                link = el("a", {"href": f"#{anchors[unit]}"}, f"The same unit {name}")
                return el("p", {"class": "how"}, link, ": ", words)
            return el("p", {"class": "how"}, f"The same unit {name}: ", words)
    return el("p", {"class": "how"}, "The other side was not studied.")


def why_not(row: dict[str, Any]) -> str:
    """Why a unit has no description."""
    return str(row["status"]).removeprefix("no description: ")


def score_bar(value: float | None, low: float | None, high: float | None, control: float | None) -> Element:
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
