"""What a page opens with: a few descriptions to begin with, and what it means that they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from saywell.report.card import Unit, of_pictures
from saywell.report.formats import count, two
from saywell.report.listing import UNTRAINED, controls_of_all, readers_of, short_of, verdict_line
from saywell.report.parts import Element, Part, clip, el, said
from saywell.report.tables import asked, deciding_scores
from saywell.report.unit_cards import marked_sentence, shot, thumbnails
from saywell.store.study import Study

FIRST = 10
_SENTENCES, _PICTURES = 2, 5
_SCROLL = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Verified by each reader"}
_Q = 0.05
"""The rate of false discoveries that `verified` asks for: that of the scorers, who stand above."""


def meaning(study: Study, of_classes: bool) -> str:
    """What `verified` says and what it does not, in a line."""
    when = "on unseen examples when the unit fires"
    if of_classes:
        when = "of unseen images whether they are of the class"
    wrong = "another class's words, its own name" if of_classes else "another unit's words"
    floors = f"better than every floor ({wrong}, a constant answer)"
    said = f"Verified: given the words alone, a reader says {when}, {floors}."
    if of_classes:
        return (
            f"{said} So all its words together tell the class; how many are verified where there is nothing"
            " to find, the control says."
        )
    if UNTRAINED in controls_of_all(study):
        return (
            f"{said} So the words are true of the unit, which need not have learned anything: units with"
            f" {UNTRAINED} tell words apart, too, and only of shuffled examples there should be none."
        )
    return f"{said} So the words are true of the unit; of shuffled examples there should be none."


def none_verified(study: Study) -> str:
    """That nothing was verified, by how much it failed, and what to do about it."""
    deciding = deciding_scores(study)
    tested = deciding.filter(pl.col("q").is_not_null(), pl.col("skill").is_not_null())
    said = "No description was verified"
    if short := short_of(deciding):
        return f"{said}: {short}."
    if tested.is_empty():
        return f"{said}: none could be tested."
    pictures = "examples" in study.manifest.tables and of_pictures(asked(study, "examples"))
    held = f"{count(int(tested['n'].max()))} held-out {'images' if pictures else 'sentences'}"  # type: ignore[arg-type]
    better = tested.filter(pl.col("skill") > 0)
    of = f"of the {count(tested.height)} tested on {held}"
    if better.is_empty():
        return f"{said}: {of}, none does better than every floor."
    more = "more images" if pictures else "more texts, or fewer units"
    near = better.sort("q", -pl.col("skill_low")).row(0, named=True)
    return (
        f"{said}: {of}, {count(better.height)} {'does' if better.height == 1 else 'do'} better than"
        f" every floor, none surely enough. The nearest, {clip(near['unit'], 40)}, has q"
        f" {near['q']:.2g} where {_Q} or less is asked (q: the share of false ones"
        f" among all as sure as it). Try {more}."
    )


def anchors_of(best: Sequence[Unit]) -> dict[str, str]:
    """By unit, where on the page its whole evidence stands."""
    return {unit.id: f"b{place}" for place, unit in enumerate(best)}


def best_section(
    study: Study, best: Sequence[Unit], has: Callable[[str], bool], jpegs: Mapping[str, bytes]
) -> Element | None:
    """The descriptions to begin with; `has` says whether an anchor is on the page."""
    if "scores" not in study.manifest.tables:
        return None
    verified = deciding_scores(study).filter(status="verified").height
    if not best:
        why = None if verified else none_verified(study)
        return None if why is None else el("p", {"class": "lede"}, said(why, len(why)))
    anchors = anchors_of(best)
    items = [_card(unit, anchors[unit.id] if has(anchors[unit.id]) else None, jpegs) for unit in best]
    return el(
        "section",
        {"class": "best", "aria-labelledby": "h-best"},
        el("h2", {"id": "h-best", "class": "unseen"}, "Descriptions to begin with"),
        el(
            "p",
            {"class": "lede"},
            f"{len(best)} of {count(verified)} verified descriptions,"
            " chosen to be sure, short and unlike each other.",
        ),
        el("ul", {"class": "firsts"}, *items),
        el("p", {"class": "how"}, meaning(study, bool(best[0].sentences))),
        needs=("best.css",),
    )


def _card(unit: Unit, anchor: str | None, jpegs: Mapping[str, bytes]) -> Element:
    name = said(unit.id, 60)
    link: Part = name if anchor is None else el("a", {"href": f"#{anchor}"}, name)
    title: Part = link if unit.sentences else said(unit.description, 160)
    body: list[Part] = []
    if unit.sentences:
        body += [el("p", None, said(text, 200)) for text in unit.to_begin_with[:_SENTENCES]]
        if unit.of_sentences:
            body.append(el("p", {"class": "source"}, unit.of_sentences, "."))
    if unit.pictures:
        pictures = (shot(one, thumbnails(jpegs)) for one in unit.proponents or unit.exemplars)
        shown = [one for one in pictures if one is not None][:_PICTURES]
        if shown:
            body.append(el("ul", {"class": "shots"}, *(el("li", None, one) for one in shown)))
    else:
        body += [el("p", {"class": "sentence"}, marked_sentence(one, "s4")) for one in unit.exemplars[:1]]
    score = unit.score
    assert score is not None, "what is verified has a score"
    facts = f"F1 {two(score.score)}, floor {two(score.floor_score)} · {unit.judged_by}"
    where: tuple[Part, ...] = () if unit.sentences else (link, el("span", None, " · "))
    return el(
        "li",
        None,
        el("h3", None, title),
        *body,
        el("p", {"class": "source"}, *where, el("span", None, facts)),
    )


def reader_table(study: Study) -> Element | None:
    """How many descriptions each reader alone verifies, side by side, and of how many it decides."""
    counts = readers_of(study)
    if counts.is_empty():
        return None
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(row["reader"], 60), " (shares the model)" * row["shares"]),
            *(el("td", {"class": "n"}, count(row[name])) for name in _OF_READERS),
        )
        for row in counts.iter_rows(named=True)
    ]
    head = ("reader", *_OF_READERS.values())
    shares = " One that shares its model with the units can support a description, and not decide."
    columns = el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, name) for name in head)))
    return el(
        "div",
        {"class": "readers"},
        el("p", {"class": "how"}, said(verdict_line(study), 600)),
        el("div", _SCROLL, el("table", {"class": "tight"}, columns, el("tbody", None, *rows))),
        el(
            "p",
            {"class": "how"},
            "The strictest reader decides, for each description anew."
            + shares * bool(counts["shares"].any()),
        ),
    )


_OF_READERS = {
    "verified": "alone verifies",
    "tested": "of tested",
    "decides": "decides of",
    "decided": "of these verified",
}
