"""What could have been found: the least effect that so many items show, and how many it would take."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

from saywell.scorers.association import Readings, as_read, dense
from saywell.scorers.null_model import Null

POWER = 0.8
"""Chance to find an effect that is there."""
_MOST_ITEMS = 10**12


def detectable(null: Null, variance: float, *, alpha: float, power: float = POWER) -> float:
    """The least effect that would be found at level alpha (two-sided), in the outcome's own units.

    `variance` of the reading: s (1 - s) of one that holds of the share s of texts; of pairs the share in
    which it holds of one text alone. Items that resemble the others of their cluster count for less, as
    much as they do if the reading is the same within clusters. NaN where there are too few items for any.
    """
    return _detectable(null, len(null), variance, alpha, power)


def possible(values: Float[np.ndarray, " n"], share: float) -> float:
    """The largest difference that there can be, in the outcome's own units, if its range and mean stay.

    `share`: of items of which the statement holds. All of these would have the one end of the range or the
    other, or as many as the mean allows: of a yes that half say, a statement true of one in fifty can make a
    difference of 51 percentage points, not of 70.
    """
    low, high = float(values.min()), float(values.max())
    if high == low:
        return 0.0
    mean = (float(values.mean()) - low) / (high - low)
    ends = [(1 - m) / (1 - share) if m >= share else m / share for m in (mean, 1 - mean)]
    return (high - low) * max(ends)


def needed(null: Null, effect: float, variance: float, *, alpha: float, power: float = POWER) -> int:
    """How many items it would take to find an effect, if they are like these; see `detectable`."""
    if effect == 0:
        raise ValueError("an effect of 0 is found by no number of items")
    low, high = null.design.shape[1] + 1, _MOST_ITEMS
    while high - low > 1:
        middle = (low + high) // 2
        found = _detectable(null, middle, variance, alpha, power) <= abs(effect)
        low, high = (low, middle) if found else (middle, high)
    return high


def _detectable(null: Null, items: int, variance: float, alpha: float, power: float) -> float:
    """(t of the level + t of the power) x standard error of the effect in so many items."""
    freedom = items - null.design.shape[1] - 1
    if freedom < 1 or variance <= 0:
        return np.nan
    values, design = null.values, null.design
    left = values - design @ (design.T @ values / len(null))
    squares = left @ left
    if null.cluster is not None:
        squares = max(squares, (np.bincount(null.cluster, left) ** 2).sum())
    common = squares / (len(null) - design.shape[1])
    reach = stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(power, freedom)
    return float(reach * np.sqrt(common / (items * variance)))


def least_p(null: Null, readings: Readings) -> Float[np.ndarray, " m"]:
    """The least p (by permutation) that each reading could have, however the outcome was dealt out.

    Where it is above the level, nothing can be said whatever the truth: of one text in 60 p is at least 1
    in 60. Of clusters each counts as one item. NaN where a reading does not vary.
    """
    least = np.full(readings.shape[0], np.nan)
    for own, part, kept in as_read(null, readings):
        values, held = part.values, dense(kept)
        if part.cluster is not None:
            sizes = np.bincount(part.cluster)
            values = np.bincount(part.cluster, values) / sizes
            held = held @ part.belongs() / sizes
        for place, one in zip(own, held, strict=True):
            if np.ptp(one) > 0:
                least[place] = min(_ordered(values, one), _ordered(-values, one))
    return least


def _ordered(values: Float[np.ndarray, " n"], reading: Float[np.ndarray, " n"]) -> float:
    """The share of orders in which the values rise with the reading as far as they can.

    That of the table of both in which the lowest values go with the lowest reading, given its margins.
    """
    tied, sizes = (np.unique(of, return_counts=True)[1] for of in (values, reading))
    up_to = np.minimum.outer(np.append(0, tied.cumsum()), np.append(0, sizes.cumsum()))
    cells = np.diff(np.diff(up_to, axis=0), axis=1)
    ways = _log_factorial(tied).sum() + _log_factorial(sizes).sum() - _log_factorial(cells).sum()
    return float(np.exp(ways - _log_factorial(np.array([len(values)])).sum()))


def _log_factorial(numbers: Int[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    return special.gammaln(numbers + 1.0)
