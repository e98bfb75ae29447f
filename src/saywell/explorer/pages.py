"""Jinja pages. Whatever a template prints is made visible and escaped as in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saywell.explorer.filters import Filters
from saywell.explorer.shelf import Opened
from saywell.explorer.verdicts import HumanVerdict
from saywell.report import formats
from saywell.report.card import Example, Sentence, Unit
from saywell.report.hypotheses import SECTIONS, opening, tested_section
from saywell.report.hypothesis_words import Hypothesis
from saywell.report.parts import Part, Rendered, clip, escape, said, visible
from saywell.report.unit_cards import Around, picture_words, score_bar, summary_line, unit_card
from saywell.report.units import RULES, mark


def environment() -> Environment:
    """Templates in which every printed value is escaped, and control characters are written out."""
    jinja = Environment(
        loader=PackageLoader("saywell.explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        said=_said,
        clip=clip,
        two=formats.two,
        count=formats.count,
        level=formats.level,
        rate=formats.rate,
        small=formats.small,
        dated=formats.dated,
        moment=_moment,
        reason=_reason,
        value=_value,
    )
    jinja.globals.update(
        interval=formats.interval,
        percent=formats.percent,
        bar=_bar,
        at=address,
        card_html=_card,
        summary=_summary,
        findings=_findings,
        badge=mark,
    )
    return jinja


def address(path: str, **fields: Any) -> str:
    """An address of ours: it begins with "/" and everything else in it is quoted."""
    query = urlencode({name: value for name, value in fields.items() if value not in (None, "")})
    return quote(path, safe="/") + ("?" + query if query else "")


def pager(filters: Filters, total: int, size: int) -> dict[str, Any]:
    """Which lines a page shows, and the addresses of its neighbours."""
    last = max(1, -(-total // size))
    here = min(filters.number, last)
    return {
        "first": (here - 1) * size + 1 if total else 0,
        "until": min(total, here * size),
        "total": total,
        "page": here,
        "pages": last,
        "before": filters.address(page=str(here - 1)) or "?" if here > 1 else None,
        "after": filters.address(page=str(here + 1)) if here < last else None,
    }


def _finalized(value: Any) -> Any:
    """Strings without what could act on the page; numbers and markup of ours as they are."""
    if value is None:
        return formats.NONE
    return visible(value) if type(value) is str else value


def _said(text: object, most: int | None = None) -> Markup:
    return Markup(said(str(text), most).html())


def _bar(row: Mapping[str, Any]) -> Markup:
    return Markup(score_bar(row["value"], row["ci_low"], row["ci_high"], row["control"]).html())


def _card(card: Unit, here: Opened, people: Mapping[str, HumanVerdict], other: str | None = None) -> Markup:
    """A unit's card as in the report, its pictures by their addresses, its sentences to be judged."""
    around = replace(_around(here, people), other=Rendered(other, ()) if other else None)
    return Markup(unit_card(card, around).html())


def _summary(card: Unit, here: Opened) -> Markup:
    """What is seen of a card before it is opened."""
    first = card.exemplars[0] if card.exemplars else None
    return Markup(summary_line(card, first, _around(here, {})).html())


def _findings(here: Opened, sought: str) -> Markup:
    """Hypotheses as in the report, with the way to their units; with `sought`, those that say it."""

    def link(one: Hypothesis) -> Part:
        place = escape(address(f"{here.home}unit", id=one.unit))
        name = escape(clip(one.unit, 60))
        return Rendered(f'<a href="{place}">unit <bdi>{name}</bdi></a>', ())

    parts = [opening(here.findings, link, sought), tested_section(here.findings, sought)]
    if not sought:
        parts += [make(here.findings) for *_, table, make in SECTIONS if table != "hypotheses"]
    return Markup("".join(part.html() for part in parts if part is not None))


def _around(here: Opened, people: Mapping[str, HumanVerdict]) -> Around:
    def picture(one: Example) -> Part | None:
        if one.id not in here.pictured:
            return None
        place = escape(address(f"{here.home}image", example=one.id))
        return Rendered(f'<img src="{place}" loading="lazy" alt="{escape(picture_words(one))}">', ())

    def beside(one: Sentence) -> Part | None:
        done = people.get(one.id)
        judged = "" if done is None else f'<span class="p-mark p-{done.action}">{done.done}</span> '
        place = escape(address(f"{here.home}text", id=one.id))
        words = escape(clip(one.text or "", 60))
        return Rendered(f'{judged}<a href="{place}#person">judge<span class="unseen"> {words}</span></a>', ())

    def link(unit: str) -> Part:
        place, name = escape(address(f"{here.home}unit", id=unit)), escape(clip(unit, 60))
        return Rendered(f'<a href="{place}"><bdi>{name}</bdi></a>', ())

    return Around(picture, beside, rules=RULES, link=link)


def _reason(status: str | None) -> str:
    return str(status).removeprefix("no description: ")


def _moment(time: str) -> str:
    return time[:16].replace("T", " ") + " UTC"


def _value(value: Any) -> str:
    """A cell of a table whose columns are not known beforehand."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return formats.NONE if value is None else str(value)
