"""The card of a class: its texts, chosen and not, and the images that speak for and against them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from saywell.report.formats import count
from saywell.report.parts import (
    Element,
    Part,
    Rendered,
    el,
    escape,
    said,
)
from saywell.report.unit_cards import verdict_line
from saywell.store.study import Study

MOST_REJECTED = 12
_COLUMNS = ("ift-literal", "ift-proponent", "text-influence", "nearest", "clip-only")
CSS = "classes.css"


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG inside the page; anything that does not begin like one is refused."""

    jpeg: bytes
    words: str

    def __post_init__(self) -> None:
        if not self.jpeg.startswith(b"\xff\xd8\xff"):
            raise ValueError(f"a thumbnail is a JPEG; these bytes begin with {self.jpeg[:3]!r}")

    def html(self) -> str:
        """The picture as a data address, which needs no network."""
        data = base64.b64encode(self.jpeg).decode("ascii")
        return f'<img alt="{escape(self.words)}" src="data:image/jpeg;base64,{data}">'

    def assets(self) -> Iterator[str]:
        """The style sheet of class cards."""
        yield CSS


def class_section(study: Study, room: int) -> Element:
    """A card for each class, as many as fit."""
    rule = study.manifest.config["select"]
    texts, scores = study.table("class_texts"), study.table("text_scores")
    jpegs: dict[str, bytes] = {}
    influence = None
    if "thumbnails" in study.manifest.tables:
        jpegs = dict(study.table("thumbnails").iter_rows())
        influence = study.table("influence")
    wide = scores.filter(pl.col("rule").is_in([*_COLUMNS, rule])).pivot(
        "rule", index="text", values="score"
    )
    picked = scores.filter(rule=rule).select("text", "rank", "chosen")
    joined = (
        texts.rename({"text": "words", "id": "text"})
        .join(wide, on="text", how="left", maintain_order="left")
        .join(picked, on="text", how="left", maintain_order="left")
        .sort("rank", nulls_last=True, maintain_order=True)
    )
    names = study.table("classes")["name"].to_list()
    tested: dict[str, dict[str, Any]] = {}
    if "scores" in study.manifest.tables:
        rows = study.verdicts().rename({"status": "verdict"}).iter_rows(named=True)
        tested = {row["unit"]: row for row in rows}
    shown: list[Part] = []
    for name in names:
        own = joined.filter(pl.col("class") == name)
        card = Rendered.of(_card(study, name, own, rule, influence, jpegs, tested.get(name)))
        if card.size > room:
            break
        room -= card.size
        shown.append(card)
    left = len(names) - len(shown)
    parts: list[Part] = [el("h2", {"id": "h-classes"}, "Class by class")]
    if left:
        parts.append(
            el("p", {"class": "warn"}, f"{count(left)} more classes do not fit on this page; their"
               " texts are in class_texts.parquet and text_scores.parquet.")
        )  # fmt: skip
    return el("section", {"aria-labelledby": "h-classes"}, *parts, *shown, needs=(CSS,))


def _card(
    study: Study,
    name: str,
    rows: pl.DataFrame,
    rule: str,
    influence: pl.DataFrame | None,
    jpegs: dict[str, bytes],
    score: dict[str, Any] | None,
) -> Element:
    chosen = rows.filter(pl.col("chosen").fill_null(False))
    others = rows.filter(~pl.col("chosen").fill_null(False))
    parts: list[Part] = [el("h3", None, said(name, 120))]
    article = (
        study.table("articles").filter(pl.col("class") == name).row(0, named=True)
        if "articles" in study.manifest.tables else None
    )  # fmt: skip
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
                ("proponent", "Images that help this class"), ("opponent", "Images that harm it"),
            ) if own.filter(side=side).height
        ]  # fmt: skip
        if sides:
            parts.append(el("div", {"class": "sides"}, *sides))
    against = _against(study, name, jpegs)
    if against:
        parts.append(el("div", {"class": "sides"}, *against))
    columns = [c for c in dict.fromkeys((rule, *_COLUMNS)) if c in rows.columns]
    if chosen.height:
        parts.append(_texts_table(f"Chosen by {rule}", chosen, columns))
    else:
        parts.append(el("p", {"class": "how"}, "No text was chosen for this class."))
    if others.height:
        parts.append(
            el("details", None, el("summary", None, f"{count(others.height)} not chosen"),
               _texts_table("Not chosen", others.head(MOST_REJECTED), columns),
               *([el("p", {"class": "how"}, f"and {others.height - MOST_REJECTED} more")]
                 if others.height > MOST_REJECTED else []))
        )  # fmt: skip
    return el("article", {"class": "class-card"}, *parts, needs=(CSS,))


def _against(study: Study, name: str, jpegs: dict[str, bytes]) -> list[Part]:
    """Test images that the class's texts get wrong."""
    if "counterexamples" not in study.manifest.tables:
        return []
    rows = study.table("counterexamples").filter(unit=name).sort("kind", "rank")
    sides: list[Part] = []
    for kind, title in (
        ("silent", "Taken for this class by its texts, and not of it"),
        ("unforeseen", "Of this class, and not recognised"),
    ):
        found = [one for one in rows.filter(kind=kind)["example"] if one in jpegs]
        if found:
            pictures = (el("li", None, Thumbnail(jpegs[one], f"image {one}")) for one in found)
            sides.append(
                el("div", None, el("h4", None, title), el("ul", {"class": "shots"}, *pictures))
            )
    return sides


def _pictures(rows: pl.DataFrame, jpegs: dict[str, bytes]) -> Element:
    first = rows["model"][0]
    shown = rows.filter(pl.col("model") == first).sort("rank")
    items = []
    for r in shown.iter_rows(named=True):
        if r["example"] in jpegs:
            words = f"image {r['example']}, influence {r['value']:+.2g}"
            items.append(
                el("li", None, Thumbnail(jpegs[r["example"]], words), f"{r['value']:+.2g}")
            )
    return el("ul", {"class": "shots"}, *items)


def _texts_table(title: str, rows: pl.DataFrame, columns: Sequence[str]) -> Element:
    body = []
    for r in rows.iter_rows(named=True):
        source = r["status"] if r["status"] != "grounded" else f"“{r['quotation'] or ''}”"
        about = f"{r['component']}: " if r["component"] else ""
        verdict = {True: " ✓ good", False: " ✗ not good", None: ""}[r.get("gold")]
        body.append(
            el("tr", None,
               el("td", {"class": "said"}, said(r["words"] or "–", 300),
                  el("br"), el("span", {"class": "source"}, said(about + source, 260), verdict)),
               *(el("td", {"class": "n"}, _score(r[column])) for column in columns))
        )  # fmt: skip
    head = el("tr", None, el("th", {"scope": "col"}, title),
              *(el("th", {"scope": "col", "class": "n"}, c) for c in columns))  # fmt: skip
    return el("div", {"class": "scroll", "tabindex": "0"},
              el("table", None, el("thead", None, head), el("tbody", None, *body)))  # fmt: skip


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
