"""How long a server asks to wait, in whichever of the places and spellings servers use."""

from __future__ import annotations

import datetime
import email.utils
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = {
    "ms": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}
_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
    r"(?![a-z])[\s,]*(?:and\s+)?",
    re.IGNORECASE,
)
# "Please try again in 6m0s", "retry after 20 seconds", "wait for 1.5s before".
_SAID = re.compile(
    rf"(?:again|retry|retrying|wait|reset|resets)\b\D{{0,24}}?((?:{_PART.pattern})+)", re.IGNORECASE
)
_FIELDS = (
    "retrydelay",
    "retryafter",
    "retryin",
    "retryafterms",
    "retrydelayms",
    "waitseconds",
    "retryafterseconds",
    "retrydelayseconds",
    "retryafterinseconds",
)
_DEEPEST = 20


def asked_wait(headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Seconds that a reply asks to wait; None when it asks for none. `now`: seconds since 1970.

    Counted are `retry-after-ms`, else Retry-After (seconds or a date); fields such as `retryDelay`
    in the JSON of the body; and "try again in 20s" in its text: the longest of these, since each
    alone was asked for. Only without any of them the times at which rate limits are reset
    (`x-ratelimit-reset-*` and the like, as a duration, a date or an epoch): the longest of the
    limits that are used up, or the shortest when it is not said which.
    """
    text = body[:100_000].decode("utf-8", "replace")
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    names = {name.lower(): said for name, said in headers.items()}
    asked = [_milliseconds(names.get("retry-after-ms"))]
    if asked[0] is None:
        asked.append(_seconds(names.get("retry-after"), now))
    resets = _resets(names, now)
    for name, said in _fields(value):
        plain = re.sub(r"[^a-z]", "", name.lower())
        if plain in _FIELDS:
            asked.append(_milliseconds(said) if plain.endswith("ms") else _seconds(said, now))
        elif plain == "headers" and isinstance(said, dict):  # a gateway passes them on so
            passed_on = {key.lower(): str(of) for key, of in said.items()}
            asked.append(_seconds(passed_on.get("retry-after"), now))
            resets += _resets(passed_on, now)
    asked += [_duration(match[1]) for match in _SAID.finditer(text[:5000])]
    given = [seconds for seconds in asked if seconds is not None]
    if given:
        return max(given)
    used_up = [seconds for seconds, sure in resets if sure]
    return max(used_up) if used_up else min((seconds for seconds, _ in resets), default=None)


def _fields(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every named value in a JSON value."""
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from _fields(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, depth + 1)


def _resets(headers: Mapping[str, str], now: float) -> list[tuple[float, bool]]:
    """Seconds until each rate limit is reset, and whether that limit is known to be used up."""
    found = []
    for name, said in headers.items():
        if "reset" not in name or not re.search(r"rate-?limit", name):
            continue
        seconds = _seconds(said, now)
        left = headers.get(name.replace("reset", "remaining"), "").strip()
        if seconds is not None and not re.fullmatch(r"0*[1-9]\d*", left):
            found.append((seconds, left != ""))
    return found


def _seconds(said: Any, now: float) -> float | None:
    """Seconds in a number, a duration, a date, an epoch or protobuf's {"seconds": ...}."""
    if isinstance(said, dict):
        return _seconds(said.get("seconds"), now)
    if isinstance(said, bool) or not isinstance(said, (int, float, str)):
        return None
    try:
        number = float(said)
    except OverflowError:
        return None
    except ValueError:
        assert isinstance(said, str)
        seconds = _duration(said)
        return seconds if seconds is not None else _until(said, now)
    if not math.isfinite(number) or number < 0:
        return None
    if number > 1e11:  # an epoch in milliseconds
        number /= 1000
    return max(0.0, number - now) if number > 1e9 else number


def _milliseconds(said: Any) -> float | None:
    seconds = _seconds(said, 0.0) if not isinstance(said, dict) else None
    return None if seconds is None else seconds / 1000


def _duration(said: str) -> float | None:
    """Seconds in "6m0s", "120ms", "1 h 5 min"; None unless the whole text is a duration."""
    parts = list(_PART.finditer(said.strip()))
    if not parts or "".join(part.group() for part in parts) != said.strip():
        return None
    return sum(float(part[1]) * _UNITS[_unit(part[2])] for part in parts)


def _unit(said: str) -> str:
    plain = said.lower()
    return plain if plain in _UNITS else plain.removesuffix("s")


def _until(said: str, now: float) -> float | None:
    """Seconds until a date as HTTP or ISO 8601 writes it."""
    for read in (email.utils.parsedate_to_datetime, datetime.datetime.fromisoformat):
        try:
            date = read(said.strip())
            if date.tzinfo is None:
                date = date.replace(tzinfo=datetime.UTC)
            return max(0.0, date.timestamp() - now)
        except (ValueError, OverflowError, TypeError):
            continue
    return None
