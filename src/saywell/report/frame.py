"""What every report has around its own content: the bar above, sections, and the line below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from saywell.report.figures import folded_table
from saywell.report.formats import count, hits, interval, two
from saywell.report.parts import Element, Page, Part, attempt, clip, el, said
from saywell.store.files import write_whole
from saywell.store.study import Metric, Study

MOST_BYTES = 3_000_000
"""What a page may weigh; cards that do not fit are left out, and the page says how many."""
_FRAME = 60_000
"""Bytes of the frame, the style sheets and the scripts, rounded up."""

Section = tuple[str, str, Callable[[], Part | None]]
"""Name, title, and what makes it; None leaves it out."""


def save_page(study: Study, page: Page) -> Path:
    """Write `report.html` into the study's folder and return its path."""
    path, html = study.path / "report.html", page.html()
    write_whole(path, lambda part: part.write_text(html, encoding="utf-8"))
    return path


def build_page(
    study: Study,
    title: str,
    head: Callable[[], Part | None],
    begin: Callable[[Callable[[str], bool]], Part | None],
    first: Callable[[], Part | None],
    wanted: Sequence[Section],
    cards: tuple[str, str, Callable[[int], Part | None]],
    closing: str,
    *,
    most_bytes: int,
    needs: tuple[str, ...] = (),
) -> Page:
    """The page as parts.

    Title, what to begin with, the summary, sections, and last the cards that fit into what is left.

    `begin` is told which anchors the page has, so that none of its links leads nowhere. A part that
    cannot be drawn becomes a box that says so.
    """
    sections = [
        (name, heading, part)
        for name, heading, make in wanted
        if (part := attempt(heading, make)) is not None
    ]
    opening, beginning = attempt("Title", head), "Descriptions to begin with"
    longest = attempt(beginning, lambda: begin(lambda anchor: True))
    above = attempt("Summary", first)
    made = [opening, longest, above, *(part for _, _, part in sections)]
    spent = _FRAME + sum(part.size for part in made if part is not None)
    name, heading, make = cards
    last = attempt(heading, lambda: make(most_bytes - spent))
    if last is not None:
        sections.append((name, heading, last))
    cards_there = "" if last is None else last.markup
    best = attempt(beginning, lambda: begin(lambda anchor: f' id="{anchor}"' in cards_there))
    links = [el("a", {"href": f"#{name}"}, heading) for name, heading, _ in sections]
    versions = ", ".join(f"{name} {version}" for name, version in study.manifest.versions.items())
    body = (
        el("a", {"class": "skip", "href": "#main"}, "Skip to the content"),
        el(
            "header",
            {"class": "bar"},
            el("span", {"class": "brand"}, "saywell"),
            el("nav", {"aria-label": "Sections"}, *links),
            el("button", {"id": "theme", "type": "button", "hidden": True}, "Dark"),
        ),
        el(
            "main",
            {"id": "main"},
            *(part for part in (opening, best, above) if part is not None),
            *(el("div", {"id": name}, part) for name, _, part in sections),
        ),
        el("footer", None, el("p", None, closing), el("p", None, said(versions, 400))),
    )
    return Page(clip(title, 120), body, needs) if needs else Page(clip(title, 120), body)


def metric_numbers(metrics: Sequence[Metric]) -> Element:
    """The headline figures as a table, folded away."""
    rows = [
        el(
            "tr",
            None,
            el("th", {"scope": "row"}, said(m.name, 120)),
            el("td", {"class": "n"}, two(m.value)),
            el("td", {"class": "n"}, interval(m.ci_low, m.ci_high)),
            el("td", None, said(_listed(m.controls, m.controls_n), 300)),
            el("td", None, said(_listed({**m.reference, **m.ceiling}), 200)),
            el("td", None, f"{count(m.n)} ", said(". ".join(filter(None, (m.of, m.note))), 320)),
        )
        for m in metrics
    ]
    head = ("figure", "value", "95 % interval", "controls", "references and bounds", "n")
    return folded_table("These figures as a table", head, rows)


def told(metrics: Sequence[Metric]) -> str:
    """What a chart of headline figures shows, in words: values, intervals, all that stands beside."""
    said = (
        f"{m.name} {two(m.value)}"
        + ("" if m.ci_low is None else f", {interval(m.ci_low, m.ci_high)}")
        + f" ({_listed({**m.controls, **m.reference, **m.ceiling}, m.controls_n)})"
        for m in metrics
    )
    return clip("; ".join(said), 4000)


def _listed(values: Mapping[str, float | None], counted: Mapping[str, int] = MappingProxyType({})) -> str:
    """Names with their values; of what is `counted`, how many that is of how many."""
    listed = (
        f"{name} {two(value)}" + (f" ({hits(value, counted[name])})" if name in counted else "")
        for name, value in values.items()
    )
    return ", ".join(listed) or "–"
