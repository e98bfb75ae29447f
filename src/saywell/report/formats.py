"""How numbers and dates are written in reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

NONE = "–"


_FAR = 1e6


def two(value: float | None) -> str:
    """A share or score with two decimals, never -0.00; an en dash where there is none.

    What is far from any share, as where a dictionary does not fit at all, in powers of ten.
    """
    return NONE if value is None else f"{value:z.2f}" if abs(value) < _FAR else f"{value:.1e}"


def interval(low: float | None, high: float | None) -> str:
    """An interval, such as "0.12 to 0.34"."""
    return NONE if low is None or high is None else f"{two(low)} to {two(high)}"


def count(value: int) -> str:
    """A count with thousands apart."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """A share in percent; one decimal below ten."""
    if not whole:
        return NONE
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def rate(value: float) -> str:
    """A share in percent, of which also the smallest says something."""
    return f"{100 * value:.1f} %" if value >= 0.01 or value == 0 else f"{100 * value:.2g} %"


def hits(share: float | None, of: int) -> str:
    """A share as what it counts, such as "3 of 40", or "0 of 0"."""
    return NONE if share is None and of else f"{round((share or 0) * of):,} of {of:,}"


def joined(parts: Sequence[str]) -> str:
    """As "a", "a and b", "a, b and c"; there is one at least."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def small(value: float | None) -> str:
    """A q-value: two digits, or "< 0.0001"."""
    if value is None:
        return NONE
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def level(value: float) -> str:
    """An activation."""
    return f"{value:z.2f}" if abs(value) < 1000 else f"{value:.3g}"


def dated(moment: str) -> str:
    """An ISO moment as a day, such as "3 May 2025"."""
    try:
        day = datetime.fromisoformat(moment)
    except ValueError:
        return moment[:40]
    return f"{day.day} {day:%B %Y}"


def duration(started: str, finished: str | None) -> str:
    """ ", in 6 min 7 s"; empty where the end is not known."""
    if finished is None:
        return ""
    try:
        seconds = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).seconds
    except ValueError:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f", in {minutes} min {rest} s" if minutes else f", in {rest} s"
