"""The card of a class: its texts, chosen and not, and the images that speak for and against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from saywell.report.formats import count
from saywell.report.parts import Element, Part, Rendered, Thumbnail, el, said
from saywell.report.unit_cards import verdict_line
from saywell.store.study import Study

MOST_REJECTED = 12
_OPEN = 24
"""Classes that stand in the page; the rest is folded away together."""
_COLUMNS = ("ift-literal", "ift-proponent", "text-influence", "nearest", "clip-only")
CSS = "classes.css"


def class_section(study: Study, room: int, first: Mapping[str, str], jpegs: Mapping[str, bytes]) -> Element:
    """A folded card for each class, as many as fit.

    `first` are the classes that the page begins with, and the anchors at which it expects them.
    """
    rule = study.manifest.config["select"]
    texts, scores = study.table("class_texts"), study.table("text_scores")
    has = study.manifest.tables
    influence = study.table("influence") if "thumbnails" in has else None
    articles: dict[str, dict[str, Any]] = {}
    if "articles" in has:
        articles = {row["class"]: row for row in study.table("articles").iter_rows(named=True)}
    against = study.table("counterexamples") if "counterexamples" in has else None
    wide = scores.filter(pl.col("rule").is_in([*_COLUMNS, rule]), network=False).pivot(
        "rule", index="text", values="score"
    )
    picked = scores.filter(rule=rule, network=False).select("text", "rank", "chosen")
    joined = (
        texts.rename({"text": "words", "id": "text"})
        .join(wide, on="text", how="left", maintain_order="left")
        .join(picked, on="text", how="left", maintain_order="left")
        .sort("rank", nulls_last=True, maintain_order=True)
    )
    names = study.table("classes")["name"].to_list()
    tested: dict[str, dict[str, Any]] = {}
    if "scores" in has:
        rows = study.verdicts().rename({"status": "verdict"}).iter_rows(named=True)
        tested = {row["unit"]: row for row in rows}
    made: dict[str, Part] = {}
    for name in sorted(names, key=lambda name: name not in first):
        own = joined.filter(pl.col("class") == name)
        card = Rendered.of(
            _card(
                name,
                first.get(name),
                own,
                rule,
                influence,
                jpegs,
                tested.get(name),
                articles.get(name),
                against,
            )
        )
        if card.size > room:
            break
        room -= card.size
        made[name] = card
    shown = [made[name] for name in names if name in made]
    left = len(names) - len(shown)
    parts: list[Part] = [
        el("h2", {"id": "h-classes"}, "Class by class"),
        el(
            "p",
            {"class": "how"},
            "Open a class for its texts, how they were chosen, and the images"
            " that speak for and against them.",
        ),
    ]
    if left:
        parts.append(
            el(
                "p",
                {"class": "warn"},
                f"{count(left)} more classes do not fit on this page; their"
                " texts are in class_texts.parquet and text_scores.parquet.",
            )
        )
    parts += shown[:_OPEN]
    if len(shown) > _OPEN:
        parts.append(
            el(
                "details",
                {"class": "rest"},
                el("summary", None, f"and {count(len(shown) - _OPEN)} more classes"),
                *shown[_OPEN:],
            )
        )
    return el("section", {"aria-labelledby": "h-classes"}, *parts, needs=(CSS,))


def _card(
    name: str,
    anchor: str | None,
    rows: pl.DataFrame,
    rule: str,
    influence: pl.DataFrame | None,
    jpegs: Mapping[str, bytes],
    score: dict[str, Any] | None,
    article: dict[str, Any] | None,
    counterexamples: pl.DataFrame | None,
) -> Element:
    chosen = rows.filter(pl.col("chosen").fill_null(False))
    others = rows.filter(~pl.col("chosen").fill_null(False))
    parts: list[Part] = []
    if article is not None:
        state = (
            article["status"]
            if article["status"] != "found"
            else (f"{article['title']} {article['url']} {article['revision']}".strip())
        )
        parts.append(el("p", {"class": "source"}, "Article: ", said(state, 300)))
    if score is not None and score["value"] is not None:
        parts.append(verdict_line(score, "images"))
    if influence is not None:
        own = influence.filter(pl.col("class") == name)
        sides = [
            el("div", None, el("h4", None, title), _pictures(own.filter(side=side), jpegs))
            for side, title in (
                ("proponent", "Images that help this class"),
                ("opponent", "Images that harm it"),
            )
            if own.filter(side=side).height
        ]
        if sides:
            parts.append(el("div", {"class": "sides"}, *sides))
    against = _against(counterexamples, name, jpegs)
    if against:
        parts.append(el("div", {"class": "sides"}, *against))
    columns = [c for c in dict.fromkeys((rule, *_COLUMNS)) if c in rows.columns]
    if chosen.height:
        parts.append(_texts_table(f"Chosen by {rule}", chosen, columns))
    else:
        parts.append(el("p", {"class": "how"}, "No text was chosen for this class."))
    if others.height:
        parts.append(
            el(
                "details",
                None,
                el("summary", None, f"{count(others.height)} not chosen"),
                _texts_table("Not chosen", others.head(MOST_REJECTED), columns),
                *(
                    [el("p", {"class": "how"}, f"and {others.height - MOST_REJECTED} more")]
                    if others.height > MOST_REJECTED
                    else []
                ),
            )
        )
    verdict = score["verdict"] if score is not None else ""
    line = chosen["words"][0] if chosen.height else "no text was chosen"
    head = el(
        "summary",
        None,
        el("h3", None, said(name, 120)),
        el("span", {"class": "v v-" + (verdict.split() or ["none"])[0]}, verdict),
        el("span", {"class": "line"}, said(line, 160)),
    )
    place = {} if anchor is None else {"id": anchor}
    return el("details", {"class": "class-card", **place}, head, *parts, needs=(CSS,))


def _against(table: pl.DataFrame | None, name: str, jpegs: Mapping[str, bytes]) -> list[Part]:
    """Test images that the class's texts get wrong."""
    if table is None:
        return []
    rows = table.filter(unit=name).sort("kind", "rank")
    sides: list[Part] = []
    for kind, title in (
        ("silent", "Taken for this class by its texts, and not of it"),
        ("unforeseen", "Of this class, and not recognised"),
    ):
        found = [one for one in rows.filter(kind=kind)["example"] if one in jpegs]
        if found:
            pictures = (el("li", None, Thumbnail(jpegs[one], f"image {one}")) for one in found)
            sides.append(el("div", None, el("h4", None, title), el("ul", {"class": "shots"}, *pictures)))
    return sides


def _pictures(rows: pl.DataFrame, jpegs: Mapping[str, bytes]) -> Element:
    first = rows["model"][0]
    shown = rows.filter(pl.col("model") == first).sort("rank")
    items = []
    for r in shown.iter_rows(named=True):
        if r["example"] in jpegs:
            words = f"image {r['example']}, influence {r['value']:+.2g}"
            items.append(el("li", None, Thumbnail(jpegs[r["example"]], words), f"{r['value']:+.2g}"))
    return el("ul", {"class": "shots"}, *items)


def _texts_table(title: str, rows: pl.DataFrame, columns: Sequence[str]) -> Element:
    body = []
    for r in rows.iter_rows(named=True):
        source = r["status"] if r["status"] != "grounded" else f"“{r['quotation'] or ''}”"
        about = f"{r['component']}: " if r["component"] else ""
        verdict = {True: " ✓ good", False: " ✗ not good", None: ""}[r.get("gold")]
        body.append(
            el(
                "tr",
                None,
                el(
                    "td",
                    {"class": "said"},
                    said(r["words"] or "–", 300),
                    el("br"),
                    el("span", {"class": "source"}, said(about + source, 260), verdict),
                ),
                *(el("td", {"class": "n", "data-name": column}, _score(r[column])) for column in columns),
            )
        )
    head = el(
        "tr",
        None,
        el("th", {"scope": "col"}, title),
        *(el("th", {"scope": "col", "class": "n"}, c) for c in columns),
    )
    return el(
        "div",
        {"class": "scroll", "tabindex": "0"},
        el("table", {"class": "texts"}, el("thead", None, head), el("tbody", None, *body)),
    )


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
