"""How much higher the outcome is where a reading is higher by 1, in the outcome's own units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, stats

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

    Intervals are of t, whatever the spread: HC3 (MacKinnon and White 1985), within clusters CR1 (Liang and
    Zeger 1986), with as many degrees of freedom as items or clusters that the reading rests on, less 1: of
    one that holds of 5 texts 4 (after Bell and McCaffrey 2002; Carter et al. 2017). A handful that agree by
    chance do not make it a point: the variance is drawn to the common one as if by four more items, and
    binary outcomes have one yes and one no more where the reading is highest and where it is lowest
    (Agresti and Caffo 2000), and no more than shares allow.

    NaN where the reading does not vary; a value without interval where it rests on one item. NaN in a
    reading: an item that was not read, and is left out.
    """
    result = np.full((3, readings.shape[0]), np.nan)
    for own, part, kept in as_read(null, readings):
        for place, one in zip(own, dense(kept), strict=True):
            result[:, place] = _effect(part, one)
    return Effects(*result)


def _effect(null: Null, reading: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """One effect and its interval."""
    n, (low, high) = len(null), (reading.min(), reading.max())
    design, values, cluster = null.design, null.values, null.cluster
    left = reading - design @ (design.T @ reading / n)
    squares = left @ left
    if squares <= _LEAST * (reading @ reading):
        return np.nan, np.nan, np.nan
    value = float(left @ values / squares)
    binary = null.outcome.kind == "binary"
    if binary:
        more = np.zeros((4, design.shape[1]))
        more[:, 0] = 1
        design, values = np.vstack([design, more]), np.append(values, [0, 1, 0, 1])
        reading = np.append(reading, [low, low, high, high])
        if cluster is not None:
            cluster = np.append(cluster, cluster.max() + 1 + np.arange(4))
    middle, variance, freedom = _sandwich(design, values, reading, cluster)
    if freedom < 0.5:  # it rests on one item: no interval is wide enough
        return value, np.nan, np.nan
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance)
    if not binary:
        return value, value - half, value + half
    most = 1 / (high - low)
    return value, max(middle - half, -most), min(middle + half, most)


def _sandwich(
    design: Float[np.ndarray, "n columns"],
    values: Float[np.ndarray, " n"],
    reading: Float[np.ndarray, " n"],
    cluster: Int[np.ndarray, " n"] | None,
) -> tuple[float, float, float]:
    """The coefficient of the reading, its variance whatever the spread, and its degrees of freedom."""
    n, columns = design.shape
    solved = linalg.solve(design.T @ design, design.T, assume_a="pos")
    left, residuals = (of - (solved @ of) @ design.T for of in (reading, values))
    squares = left @ left
    value = left @ residuals / squares
    residuals = residuals - value * left
    common = residuals @ residuals / max(n - columns - 1, 1)
    if cluster is None:
        # Where an item alone decides, as the only one of a category, it leaves no residual.
        leaves = 1 - (design * solved.T).sum(1) - left**2 / squares
        off = np.divide(residuals, leaves, out=np.zeros(n), where=leaves > _LEAST)
        weights, added = left**2, (left * off) ** 2
    else:
        number = int(cluster.max()) + 1
        weights = np.bincount(cluster, left**2)
        added = np.bincount(cluster, left * residuals) ** 2
        added *= number / (number - 1) * (n - 1) / max(n - columns - 1, 1)
    freedom = squares**2 / (weights @ weights) - 1
    drawn = (freedom + 1) / (freedom + 1 + _PRIOR)
    variance = drawn * added.sum() + (1 - drawn) * common * squares
    return value, variance / squares**2, freedom
