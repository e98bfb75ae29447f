"""Jinja pages. Whatever a template prints is made visible and escaped as in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saywell.explorer.filters import Filters
from saywell.report import formats
from saywell.report import unit_cards as cards
from saywell.report.parts import clip, said, visible


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
        sentence=sentence_line,
        at=address,
        verdict_line=_verdict_line,
        level_line=_level_line,
        comparisons=comparisons,
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
    return Markup(cards.score_bar(row["value"], row["ci_low"], row["ci_high"], row["control"]).html())


def sentence_line(
    one: Mapping[str, Any], row: Mapping[str, Any], group: Sequence[Mapping[str, Any]]
) -> Markup:
    """An exemplar, cut around its span, the span shaded by strength."""
    if one["activation"] is None:
        return _said(one["text"] or "", 280)
    known = [dict(other) for other in group if other["activation"] is not None]
    return Markup(cards.sentence_line(dict(one), {**row, "sign": row["sign"] or 1}, known).html())


def _verdict_line(row: Mapping[str, Any], of: str = "sentences") -> Markup:
    return Markup(cards.verdict_line({**row, "n": row["n"] or 0}, of).html())


def _level_line(row: Mapping[str, Any]) -> Markup:
    """When a unit fires, and a histogram of its values, as far as the study knows."""
    if any(row[name] is None for name in ("state", "threshold", "fires", "mean", "std", "name")):
        return Markup()
    whole = {**row, "sign": row["sign"] or 1}
    drawn = cards.histogram(whole).html() if row["histogram"] and row["maximum"] is not None else ""
    return Markup(cards.level_line(whole).html() + drawn)


def comparisons(unit: str, evidence: cards.Evidence) -> Markup:
    """What else a description can be held against, as in the report."""
    return Markup("".join(part.html() for part in cards.comparisons(unit, evidence)))


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
