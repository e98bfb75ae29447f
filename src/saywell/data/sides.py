"""Which text of a pair is favoured, from what people write in a column: first, B, 2, model_a, a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.errors import InputError

NAMES = (("first", "second"), ("a", "b"), ("1", "2"), ("one", "two"), ("left", "right"), ("true", "false"))
"""Of the first and of the second. 0 and 1 are none: they number the two, or say whether the first wins."""
_TIE = re.compile(
    r"(tie|tied|draw|equal|equally|same|both|neither|none|undecided|no preference|no difference)\b.*"
)
_LESS = frozenset(
    "less fewer worse lower least worst lose loses lost not never rejected dispreferred".split()
)
"""With one of these, the text that is named first may be the one that is not favoured."""
_SHOWN = 5


def first_favoured(
    values: pl.Series, columns: Sequence[str], first: str | None = None
) -> tuple[Float[np.ndarray, " pairs"], int, str]:
    """1 where the first is favoured, 0 where the second is, NaN where nothing or neither is said.

    `values`: strings, named as their column; `columns`: names of the columns of the two texts; `first`: the
    value that says it is the first, where the values do not tell by themselves. They do where they are
    names of the columns, or the same words about the first and the second: "A", "Headline 1 has more clicks
    than Headline 2". Also how many pairs are tied, and a sentence on what was assumed.

    Raises InputError, with the values and what to say, where it is not clear which is which.
    """
    target = values.name
    plain = values.str.strip_chars().str.to_lowercase().str.replace(r"^([+-]?\d+)\.0+$", "$1")
    counts = plain.drop_nulls().value_counts(sort=True).sort("count", plain.name, descending=[True, False])
    different = counts[plain.name].to_list()
    ties = {value for value in different if _TIE.fullmatch(value)}
    favours = [value for value in different if value not in ties]
    if first is not None:
        one, other = _told(favours, first.strip().lower(), target, ties)
    else:
        one, other = _understood(favours, columns, target)
    tied = int(plain.is_in(list(ties)).sum())
    known = {value: float(value == one) for value in (one, other) if value is not None}
    said = plain.replace_strict(known, default=None, return_dtype=pl.Float64)
    means = [
        f"{value!r} was taken to favour {column!r}"
        for value, column in zip((one, other), columns, strict=True)
        if value is not None
    ]
    return said.to_numpy(), tied, f"In the column {target!r}, {', and '.join(means)}."


def _told(favours: Sequence[str], first: str, target: str, ties: set[str]) -> tuple[str, str | None]:
    """The value that was named and the other one; of three numbers the middle one is a tie."""
    if first not in favours:
        raise InputError(f"first={first!r} (--first) is not in {target!r}, which holds {_listed(favours)}")
    others = [value for value in favours if value != first]
    if len(others) == 2 and (middle := _middle([first, *others])) in others:
        ties.add(middle)
        others.remove(middle)
    if len(others) > 1:
        raise InputError(
            f"{target!r} holds {_listed(favours)}; of pairs it says which of two is favoured: leave empty"
            " where neither is, or say how much the first is favoured, in numbers, with --kind real"
        )
    return first, others[0] if others else None


def _middle(numbers: Sequence[str]) -> str:
    """Of -1, 0, 1, or 0, 0.5, 1, the one in the middle; empty for others."""
    try:
        low, middle, high = sorted(numbers, key=float)
    except ValueError:
        return ""
    return middle if (float(low), float(middle), float(high)) in {(-1, 0, 1), (0, 0.5, 1)} else ""


def _understood(favours: Sequence[str], columns: Sequence[str], target: str) -> tuple[str | None, str | None]:
    """The values of the first and of the second, where they are clear by themselves."""
    sides = {value: _side(value, columns) for value in favours}
    of = {side: [value for value in favours if sides[value] == side] for side in (0, 1)}
    clear = None not in sides.values() and all(len(values) <= 1 for values in of.values())
    one, other = (values[0] if values else None for values in (of[0], of[1]))
    if one is not None and other is not None and not _mirrored(one, other, columns):
        clear = False
    if not clear:
        raise InputError(
            f"it is not clear which value of {target!r} says that {columns[0]!r} is favoured, and not"
            f" {columns[1]!r}: it holds {_listed(favours)}; name it with --first VALUE (first=...)"
        )
    return one, other


def _words(value: str) -> list[str]:
    return re.findall(r"[^\W_]+", value.lower())


def _side(value: str, columns: Sequence[str]) -> int | None:
    """0 where a value names the first text, alone or before the second, 1 for the second; else None."""
    words = _words(value)
    whole = [_words(column) for column in columns]
    if words in whole and whole[0] != whole[1]:
        return whole.index(words)
    found = {names: [word for word in words if word in names] for names in NAMES}
    found = {names: named for names, named in found.items() if named}
    if len(found) != 1 or _LESS & set(words):
        return None
    ((names, named),) = found.items()
    return names.index(named[0]) if len(named) == len(set(named)) else None


def _mirrored(one: str, other: str, columns: Sequence[str]) -> bool:
    """Whether the second value is the first one with the names of the two texts changed about."""
    first, second = _words(one), _words(other)
    if [first, second] == [_words(column) for column in columns]:
        return True
    return any(
        [{a: b, b: a}.get(word, word) for word in first] == second and first != second for a, b in NAMES
    )


def _listed(values: Sequence[str]) -> str:
    some = ", ".join(repr(value[:80]) for value in values[:_SHOWN])
    return f"{some} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else some or "nothing"
