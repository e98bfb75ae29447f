"""How much higher the outcome is where a reading is higher by 1, in the outcome's own units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from saywell.scorers.association import Readings, as_read, dense
from saywell.scorers.intervals import LEVEL
from saywell.scorers.null_model import Null

_PRIOR = 4
"""Items' worth of the common variance."""
_LEAST = 1e-9


class Effects(NamedTuple):
    """Differences in the outcome's own units (of a binary one in shares of 1), and their 95 % intervals."""

    value: Float[np.ndarray, " m"]
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]


def effects(null: Null, readings: Readings) -> Effects:
    """What a reading adds to the outcome at equal covariates, by least squares.

    Intervals are of t, whatever the spread: HC3 (MacKinnon and White 1985), of clusters the jackknife (CV3:
    MacKinnon, Nielsen and Webb 2023) to first order, with as many degrees of freedom as items or clusters
    that the reading rests on, less 1: of one that holds of 5 texts 4 (after Bell and McCaffrey 2002; Carter
    et al. 2017). A handful that agree by chance do not make it a point: the variance is drawn to the common
    one as if by four more items, and binary outcomes have one yes and one no more where the reading is
    highest and where it is lowest (Agresti and Caffo 2000), and no more than shares allow.

    NaN where the reading does not vary; a value without interval where it rests on one item. NaN in a
    reading: an item that was not read, and is left out.
    """
    result = np.full((3, readings.shape[0]), np.nan)
    for own, part, kept in as_read(null, readings):
        regression = _Regression.of(part)
        for place, one in zip(own, dense(kept), strict=True):
            result[:, place] = _effect(part, regression, one)
    return Effects(*result)


def _effect(
    null: Null, regression: _Regression, reading: Float[np.ndarray, " n"]
) -> tuple[float, float, float]:
    """One effect and its interval."""
    low, high = float(reading.min()), float(reading.max())
    left = reading - null.design @ (null.design.T @ reading) / len(null)
    if (squares := left @ left) <= _LEAST * (reading @ reading):
        return np.nan, np.nan, np.nan
    value = float(left @ null.values / squares)
    binary = null.outcome.kind == "binary"
    middle, variance, freedom = regression.of_reading(
        np.append(reading, [low, low, high, high]) if binary else reading
    )
    if freedom < 0.5:  # it rests on one item: no interval is wide enough
        return value, np.nan, np.nan
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance)
    if not binary:
        return value, value - half, value + half
    most = 1 / (high - low)
    return value, max(middle - half, -most), min(middle + half, most)


@dataclass(frozen=True)
class _Regression:
    """The outcome and what covariates leave of it; of a binary one also of two more items of each value.

    `squares`: of the columns of the design, which are orthogonal; `leverage`: of each item.
    """

    design: Float[np.ndarray, "n columns"]
    squares: Float[np.ndarray, " columns"]
    leverage: Float[np.ndarray, " n"]
    left: Float[np.ndarray, " n"]
    cluster: Int[np.ndarray, " n"] | None

    @classmethod
    def of(cls, null: Null) -> _Regression:
        """Of all items that a null model has."""
        design, values, cluster = null.design, null.values, null.cluster
        if null.outcome.kind == "binary":
            more = np.zeros((4, design.shape[1]))
            more[:, 0] = 1  # where covariates are at their means
            design, values = np.vstack([design, more]), np.append(values, [0, 1, 0, 1])
            if cluster is not None:
                cluster = np.append(cluster, cluster.max() + 1 + np.arange(4))
        squares = (design**2).sum(0)
        left = values - design @ (design.T @ values / squares)
        return cls(design, squares, (design**2 / squares).sum(1), left, cluster)

    def of_reading(self, reading: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
        """Its coefficient, the variance of that whatever the spread, and the degrees of freedom."""
        n, columns = self.design.shape
        own = reading - self.design @ (self.design.T @ reading / self.squares)
        squares = own @ own
        value = own @ self.left / squares
        residuals = self.left - value * own
        common = residuals @ residuals / max(n - columns - 1, 1)
        if self.cluster is None:
            # Where an item alone decides, as the only one of a category, it leaves no residual.
            leaves = 1 - self.leverage - own**2 / squares
            off = np.divide(residuals, leaves, out=np.zeros(n), where=leaves > _LEAST)
            weights, added = own**2, (own * off) ** 2
        else:
            number = int(self.cluster.max()) + 1
            weights = np.bincount(self.cluster, own**2)
            sums = np.bincount(self.cluster, own * residuals)
            leaves = (1 - weights / squares) * (1 - np.bincount(self.cluster) / n)
            added = (
                np.divide(sums, leaves, out=np.zeros(number), where=leaves > _LEAST) ** 2
                * (number - 1)
                / number
            )
        freedom = squares**2 / (weights @ weights) - 1
        drawn = (freedom + 1) / (freedom + 1 + _PRIOR)
        variance = drawn * added.sum() + (1 - drawn) * common * squares
        return float(value), float(variance / squares**2), float(freedom)
