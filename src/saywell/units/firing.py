"""When a unit fires: the rule belongs to the source of the units.

`fit` looks at describe examples alone and gives every unit a threshold, which it reaches when it fires,
and a state: "ok", or why nothing is to be said of it (see `REASONS`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from saywell.errors import InputError

FLAT = 0.15
"""A unit that comes near its threshold on this much more than its share has no top to speak of."""
ROUNDING = 32 * float(np.finfo(np.float32).eps)
"""Part of its value that a unit may differ by in a batch of another shape: so little is no difference."""
NEAR = 0.002
"""Near is within this part of the unit's range, or of the threshold's size where that is smaller."""
FEWEST = 3
"""Describe examples that a unit has to fire on to be described: from fewer nothing stands out."""
MOST = 0.95
"""A unit that fires on a larger share is described best by saying "always"."""

OK, GIVEN = "ok", "given"
REASONS = {
    "constant": "it gives the same value on every sentence",
    "flat": "too many sentences reach its top value",
    "rare": f"it fires on fewer than {FEWEST} of the examples that it could be described from",
    "dense": f"it fires on more than {MOST:.0%} of the examples",
    "unknown": "nothing is known of it",
}
"""Why a unit that is in a state other than ok has no description."""
REMEDIES = {
    "flat": 'let it fire by another rule: firing="above:0" (--firing above:0, or a larger top:SHARE)',
    "rare": 'give more examples, or let it fire on more: firing="top:0.05" (--firing top:SHARE, above:VALUE)',
    "dense": 'let it fire on fewer: firing="top:0.05" (--firing top:SHARE, above:VALUE)',
}
"""What may be done, where the rule is the user's to choose."""


class Fitted(NamedTuple):
    """Of each column of values."""

    thresholds: Float[np.ndarray, " units"]
    """Fires at or above it; NaN where there is none."""
    shares: Float[np.ndarray, " units"]
    """Of the known examples, those on which it fires."""
    states: np.ndarray


@dataclass(frozen=True)
class TopShare:
    """Fires on the strongest: at or above the quantile that a share of the describe examples reaches."""

    share: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise InputError(f"a unit can fire on a top share above 0 and up to 0.5, not {self.share!r}")

    def __str__(self) -> str:
        return f"top:{self.share:g}"

    def fit(self, values: Float[np.ndarray, "rows units"]) -> Fitted:
        """States ok, constant (one value throughout), flat, and unknown.

        Flat is no threshold that few come near, such as the low side of a ReLU, which has one value
        there, or of a GELU, which has nearly one.
        """
        known = ~np.isnan(values)
        whole = bool(known.all())
        if not whole:
            values, kept = _without_unknown(values, known)
            found = [_top_share(values[:n, [column]], self.share) for column, n in enumerate(kept)]
            thresholds, shares, near, constant = (np.concatenate(parts) for parts in zip(*found, strict=True))
        else:
            thresholds, shares, near, constant = _top_share(values, self.share)
        states = np.select(
            [np.isnan(thresholds), constant, near > self.share + FLAT], ["unknown", "constant", "flat"], OK
        )
        return Fitted(thresholds, shares, states)


@dataclass(frozen=True)
class Above:
    """Fires above a value: what a dictionary's latent, a margin or a yes and no is made for."""

    value: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.value):
            raise InputError(f"a unit cannot fire above {self.value!r}; give a number")

    def __str__(self) -> str:
        return f"above:{self.value:g}"

    def fit(self, values: Float[np.ndarray, "rows units"]) -> Fitted:
        """States ok, constant, rare, dense and unknown."""
        return Fitted(self._thresholds(values.shape[1]), *_counted(values, values >= self._threshold))

    def fit_few(self, values: sp.csc_matrix) -> Fitted:
        """The same of values, rows x units, that are 0 where none is stored, for a rule not below 0."""
        count, known, (low, high) = values.shape[1], known_in(values), extremes_of(values)
        fires = np.bincount(column_of(values)[values.data >= self._threshold], minlength=count)
        return Fitted(self._thresholds(count), *_judged(known, fires, low, high))

    @property
    def _threshold(self) -> np.float32:
        """The smallest number that fires, as values are float32."""
        return np.nextafter(np.float32(self.value), np.float32(np.inf))

    def _thresholds(self, units: int) -> np.ndarray:
        return np.full(units, self._threshold, dtype=np.float64)


@dataclass(frozen=True)
class OnesOrTop:
    """Fires on the ones where all that is known of a unit is 0 and 1, else on the strongest.

    For what may be either, a function: of yes and no there is no strongest share.
    """

    share: float = 0.05

    def __post_init__(self) -> None:
        TopShare(self.share)

    def __str__(self) -> str:
        return f"ones:{self.share:g}"

    def fit(self, values: Float[np.ndarray, "rows units"]) -> Fitted:
        """States of `Above` or of `TopShare`."""
        found, ones = TopShare(self.share).fit(values), YES.fit(values)
        yes = yes_and_no(values)
        return Fitted(*(np.where(yes, one, other) for one, other in zip(ones, found, strict=True)))


@dataclass(frozen=True)
class AboveMedian:
    """Fires above the median of the describe examples, or at it where nothing is above it.

    For columns of any kind: five stars among mostly four, yes where yes and no are told, half of the
    examples where no two numbers are equal.
    """

    def __str__(self) -> str:
        return "median"

    def fit(self, values: Float[np.ndarray, "rows units"]) -> Fitted:
        """States ok, constant, rare, dense and unknown."""
        known = ~np.isnan(values)
        ordered, count = _without_unknown(values, known)
        thresholds = np.full(values.shape[1], np.nan)
        for column, n in enumerate(count.tolist()):
            if n:
                levels = np.unique(ordered[:n, column])
                median = np.quantile(ordered[:n, column], 0.5, method="lower")
                above = levels[levels > median]
                thresholds[column] = above[0] if len(above) else median
        return Fitted(thresholds, *_counted(values, values >= thresholds))


@dataclass(frozen=True)
class Given:
    """Fires where somebody said so: by place, on which examples; or a function that says so when asked."""

    fires: (
        sp.csr_matrix
        | Bool[np.ndarray, "places examples"]
        | Callable[[], Bool[np.ndarray, "places examples"]]
    )
    by: str = GIVEN
    """Who: the column of the examples, where it is one."""

    def __str__(self) -> str:
        return self.by

    @cached_property
    def told(self) -> Any:
        """Places x examples."""
        return self.fires() if callable(self.fires) else self.fires

    def of(self, places: np.ndarray, rows: np.ndarray) -> Bool[np.ndarray, "places rows"]:
        """Some places on some examples, the same (1-D) or others for each (2-D)."""
        mine = self.told[places]
        found: Any = mine[:, rows] if rows.ndim == 1 else mine[np.arange(len(places))[:, None], rows]
        return (found.toarray() if sp.issparse(found) else np.asarray(found)) > 0

    def fit(self, values: Float[np.ndarray, "rows units"], fires: Bool[np.ndarray, "rows units"]) -> Fitted:
        """States as of `Above`; no threshold."""
        return Fitted(np.full(values.shape[1], np.nan), *_counted(values, fires))


Firing = TopShare | Above | OnesOrTop | AboveMedian | Given
STRONGEST, UPPER_HALF, YES, EITHER = TopShare(), AboveMedian(), Above(0.5), OnesOrTop()
ACTIVE = Above()
"""The rules of sources that name no other."""
_RULES = {"top": TopShare, "above": Above, "ones": OnesOrTop}


def firing_rule(text: str) -> TopShare | Above | OnesOrTop | AboveMedian:
    """The rule that a text names, as `str` of it does. Raises InputError for anything else."""
    if text == "median":
        return AboveMedian()
    kind, _, number = text.partition(":")
    try:
        if kind in _RULES:
            return _RULES[kind](float(number)) if number else _RULES[kind]()
    except ValueError:
        pass
    raise InputError(
        f"unknown firing rule {text!r}; use top:SHARE (fires on that share of the examples, top:0.05),"
        " above:VALUE (fires above a value, above:0), ones:SHARE (on the ones of yes and no, else on the"
        " strongest) or median (fires above its median)"
    )


def is_rule(text: str) -> bool:
    """Whether a text is meant for a rule of `firing_rule`, right or wrong."""
    return text.partition(":")[0] in (*_RULES, "median")


def yes_and_no(values: Float[np.ndarray, "rows units"]) -> Bool[np.ndarray, " units"]:
    """Of which columns all that is known is 0 and 1."""
    return ((values == 0) | (values == 1) | np.isnan(values)).all(0)


def _counted(values: np.ndarray, fires: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares and states by how many examples a unit fires on."""
    known = ~np.isnan(values)
    return _judged(known.sum(0), (fires & known).sum(0), *extremes(values))


def _judged(
    known: np.ndarray, count: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shares = np.divide(count, known, out=np.zeros(len(count)), where=known > 0)
    conditions = [known == 0, lowest >= highest, count < FEWEST, shares > MOST]
    return shares, np.select(conditions, ["unknown", "constant", "rare", "dense"], OK)


def extremes(values: Float[np.ndarray, "rows units"]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest known value of each column; NaN where none is known."""
    unknown = np.isnan(values)
    nothing = unknown.all(0)
    low = np.where(unknown, np.inf, values).min(0, initial=np.inf).astype(np.float64)
    high = np.where(unknown, -np.inf, values).max(0, initial=-np.inf).astype(np.float64)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)


def column_of(values: sp.csc_matrix) -> Int[np.ndarray, " stored"]:
    """Of each stored value its column."""
    return np.repeat(np.arange(values.shape[1]), np.diff(values.indptr))


def known_in(values: sp.csc_matrix) -> Int[np.ndarray, " units"]:
    """How many values of each column are known, where NaN is stored for what is not."""
    unknown = np.bincount(column_of(values)[np.isnan(values.data)], minlength=values.shape[1])
    return values.shape[0] - unknown


def extremes_of(values: sp.csc_matrix) -> tuple[np.ndarray, np.ndarray]:
    """`extremes` of values that are 0 where none is stored."""
    known, own = ~np.isnan(values.data), column_of(values)
    stored, most = np.diff(values.indptr), known_in(values)
    low, high = (np.where(stored < values.shape[0], 0.0, edge) for edge in (np.inf, -np.inf))
    np.minimum.at(low, own[known], values.data[known])
    np.maximum.at(high, own[known], values.data[known])
    return np.where(most > 0, low, np.nan), np.where(most > 0, high, np.nan)


def _top_share(values: np.ndarray, share: float) -> tuple[np.ndarray, ...]:
    """Thresholds, shares that fire, shares that come near, and which columns have one value."""
    if not len(values):
        nothing = np.full(values.shape[1], np.nan)
        return nothing, np.zeros(values.shape[1]), nothing, nothing == 0
    threshold = np.quantile(values, 1 - share, axis=0, method="higher")
    lowest, highest = values.min(0), values.max(0)
    close = threshold - NEAR * np.minimum(np.abs(threshold), highest - lowest)
    thresholds = threshold.astype(np.float64)
    size = np.maximum(np.abs(highest), np.abs(lowest))
    constant = highest - lowest <= ROUNDING * size
    return thresholds, (values >= threshold).mean(0), (values >= close).mean(0), constant


def _without_unknown(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each column with what is known of it first, in its order, and how much that is."""
    order = np.argsort(~known, axis=0, kind="stable")
    return np.take_along_axis(values, order, axis=0), known.sum(0)
