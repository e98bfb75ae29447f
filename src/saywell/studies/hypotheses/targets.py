"""From a column of the user's to outcomes: what kind it is, and one outcome for each value of a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.errors import InputError
from saywell.scorers.outcomes import Outcome, OutcomeKind

MOST_STEPS = 11
"""Different whole numbers of an ordinal target; 0 to 10 is the longest usual scale."""
MOST_VALUES = 20
"""Values of a name that are explained."""
SCARCE = 10
"""Items on the smaller side of a yes or no below which that is said."""
_NO = re.compile(r"(no|false|n|f|0|none|never|negative|neg|absent|control)|(not|non|no|un)\b.+")


def outcomes_of(
    values: pl.Series, kind: OutcomeKind | Literal["nominal"] | None = None
) -> tuple[tuple[Outcome, ...], list[str]]:
    """The outcomes that a column of numbers or strings (null: not known) says, and notes on what was decided.

    Two values are yes or no; at most 11 whole numbers, or halves, an order; whole numbers from 0 up a
    count, where the smallest is less than half of the largest; other numbers are real. Of strings each
    value is an outcome of its own, at most the 20 commonest. `kind` overrides that.

    Raises InputError where nothing differs, and for a kind that the values cannot be.
    """
    name, known = values.name, values.drop_nulls()
    counts = known.value_counts(sort=True).sort("count", known.name, descending=[True, False])
    different = counts[known.name].to_list()
    if len(different) < 2:
        held = (
            f"{_shown(different[0])} for all {len(known):,} that have one" if different else "no value at all"
        )
        raise InputError(f"the target {name!r} has {held}, so that there is nothing to explain")
    if kind is None:
        _refuse_mixed(name, known)
        kind = _kind(known, len(different))
    _check(name, known, different, kind)
    if kind == "binary":
        outcome, notes = _yes_or_no(name, values, different)
        return (outcome,), [*notes, *_scarce([outcome])]
    if kind == "nominal":
        return _one_a_value(name, values, different)
    outcome = Outcome(name, kind, _floats(values), name)
    steps = f"{len(different)} values from {_shown(known.min())} to {_shown(known.max())}"
    words = {"ordinal": "steps in an order", "count": "counts", "real": "numbers"}
    return (outcome,), [f"The target {name!r} was taken for {words[kind]} ({steps})."]


def _refuse_mixed(name: str, known: pl.Series) -> None:
    """InputError for numbers among which words stand, such as "n/a": they would all be taken for names."""
    if known.dtype != pl.String:
        return
    words = known.filter(known.cast(pl.Float64, strict=False).is_null())
    if 0 < len(words) < len(known) / 2:
        raise InputError(
            f"the target {name!r} holds numbers, and {_shown(words[0])} in {len(words):,} of {len(known):,}"
            " rows: leave such rows empty, or have all taken for names: kind='nominal' (--kind nominal)"
        )


def _kind(known: pl.Series, different: int) -> OutcomeKind | Literal["nominal"]:
    if different == 2:
        return "binary"
    if known.dtype == pl.String:
        return "nominal"
    numbers = known.to_numpy()
    low, high = numbers.min(), numbers.max()
    if different <= MOST_STEPS and (2 * numbers == np.round(2 * numbers)).all() and high - low < MOST_STEPS:
        return "ordinal"
    whole = (numbers == np.round(numbers)).all()
    return "count" if whole and low >= 0 and low < high / 2 else "real"


def _check(name: str, known: pl.Series, different: Sequence[object], kind: str) -> None:
    """InputError for values that are not of that kind."""
    held = ", ".join(map(_shown, different[:5]))
    some = f"{held} and {len(different) - 5:,} more" if len(different) > 5 else held
    wrong = f"kind={kind!r} (--kind) cannot be of {name!r}, which holds {some}"
    if kind == "binary" and len(different) > 2:
        raise InputError(f"{wrong}: two values are needed")
    if kind in ("ordinal", "count", "real") and known.dtype == pl.String:
        raise InputError(f"{wrong}: numbers are needed" + " in that order" * (kind == "ordinal"))
    if kind == "count" and ((known < 0) | (known != known.round())).any():
        raise InputError(f"{wrong}: whole numbers from 0 up are needed")
    if kind == "nominal" and len(different) > MOST_VALUES and 2 * len(different) > len(known):
        raise InputError(
            f"the target {name!r} holds {len(different):,} different values in {len(known):,} rows: a target"
            f" is a number, or a name that many texts have (it holds {some})"
        )


def _yes_or_no(name: str, values: pl.Series, different: Sequence[object]) -> tuple[Outcome, list[str]]:
    no, yes = _no_and_yes(different)
    floats = _floats(values == yes)
    if values.dtype != pl.String and (no, yes) == (0, 1):
        return Outcome(name, "binary", floats), []
    note = f"The target is 1 where {name!r} is {_shown(yes)}, and 0 where it is {_shown(no)}."
    return Outcome(f"{name}={_plain(yes)}", "binary", floats), [note]


def _no_and_yes(different: Sequence[object]) -> tuple[object, object]:
    """Of two numbers the larger is yes, of two names the one that denies nothing, else the first by name."""
    low, high = sorted(different)  # type: ignore[type-var]
    if not isinstance(low, str):
        return low, high
    denies = [_NO.fullmatch(value.lower()) is not None for value in (low, str(high))]
    return (low, high) if denies == [True, False] else (high, low)


def _one_a_value(
    name: str, values: pl.Series, different: Sequence[object]
) -> tuple[tuple[Outcome, ...], list[str]]:
    explained = different[:MOST_VALUES]
    outcomes = [Outcome(f"{name}={_plain(value)}", "binary", _floats(values == value)) for value in explained]
    notes = [f"Each of the {len(explained)} values of {name!r} is explained against all others."]
    if len(different) > len(explained):
        notes = [
            f"The {len(explained)} commonest of the {len(different):,} values of {name!r} are explained, each"
            " against all others."
        ]
    return tuple(outcomes), [*notes, *_scarce(outcomes)]


def _scarce(outcomes: Sequence[Outcome]) -> list[str]:
    notes = []
    for outcome in outcomes:
        known = outcome.values[outcome.known]
        fewer = int(min(known.sum(), len(known) - known.sum()))
        if fewer < SCARCE:
            side = "1" if fewer == known.sum() else "0"
            notes.append(
                f"{outcome.name!r} is {side} of {fewer} of {len(known):,} alone: little can be said of it."
            )
    return notes


def _floats(values: pl.Series) -> Float[np.ndarray, " items"]:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    return _plain(value) if isinstance(value, float) else repr(str(value)[:80])
