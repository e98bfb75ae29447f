"""Intervals of means, shares and F1, and the false discovery rate over many tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import special

RESAMPLES = 1000
LEVEL = 0.95
FALSE_DISCOVERY_RATE = 0.05


class Interval(NamedTuple):
    """A mean with its percentile bootstrap interval; NaN where nothing was measured."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Float[np.ndarray, " n"], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The mean of one value per example, NaN left out, with a 95 % interval over examples."""
    return bootstrap_means(values[:, None], seed=seed, resamples=resamples)[0]


def share_interval(values: Float[np.ndarray, " n"]) -> Interval:
    """A mean of values from 0 to 1, NaN left out, with an interval that never shrinks to a point.

    Clopper and Pearson (1934): exact for values of 0 and 1, where no resample of 25 failures would
    ever show a success. Fractions spread less around the same mean, so for them it is cautious.
    """
    counted = values[~np.isnan(values)]
    n, total = len(counted), float(counted.sum())
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(total, n - total + 1, tail)) if total > 0 else 0.0
    high = float(special.betaincinv(total + 1, n - total, 1 - tail)) if total < n else 1.0
    return Interval(total / n, low, high, n)


def wilson_interval(hits: int, n: int) -> Interval:
    """The share of `n` that are hits, with Wilson's (1927) interval; NaN of none."""
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    z = float(special.ndtri((1 + LEVEL) / 2))
    share, room = hits / n, z * z / n
    middle = (share + room / 2) / (1 + room)
    half = z / (1 + room) * float(np.sqrt(share * (1 - share) / n + room / (4 * n)))
    return Interval(share, middle - half, middle + half, n)


def bootstrap_means(
    values: Float[np.ndarray, "n columns"], *, seed: int = 0, resamples: int = RESAMPLES
) -> list[Interval]:
    """`bootstrap_mean` of several columns, all on the same resamples.

    NaN is left out column by column.
    """
    counted = ~np.isnan(values)
    filled = np.where(counted, values, 0.0)
    n = len(values)
    if n == 0:
        return [Interval(np.nan, np.nan, np.nan, 0) for _ in range(values.shape[1])]
    random, both = np.random.default_rng(seed), np.hstack([filled, counted])
    # One resample after the other: the weights of all are n x resamples numbers.
    sums = np.stack(
        [np.bincount(random.integers(n, size=n), minlength=n).astype(float) @ both for _ in range(resamples)]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.divide(*np.hsplit(sums, 2))
        value = filled.sum(0) / counted.sum(0)
    results = []
    for column in range(values.shape[1]):
        drawn = means[:, column][~np.isnan(means[:, column])]
        tails = (1 - LEVEL) / 2
        low, high = np.quantile(drawn, [tails, 1 - tails]) if len(drawn) else (np.nan, np.nan)
        results.append(Interval(float(value[column]), float(low), float(high), int(counted[:, column].sum())))
    return results


def bootstrap_f1(
    counts: Float[np.ndarray, "units 4"], *, seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "units 3"]:
    """F1 with its 95 % interval for many units, from counts of hit, miss, false alarm and rest.

    Resampling examples changes F1 only through these four counts, and they are then multinomial,
    so no example needs to be looked at again. F1 without a hit or a miss or a false alarm is 0.
    """
    random = np.random.default_rng(seed)
    results = np.zeros((len(counts), 3))
    for row, cells in enumerate(counts):
        total = int(cells.sum())
        if total == 0:
            results[row] = np.nan
            continue
        drawn = random.multinomial(total, cells / total, size=resamples)
        tails = (1 - LEVEL) / 2
        results[row, 0] = f1_of(cells[None])[0]
        results[row, 1:] = np.quantile(f1_of(drawn), [tails, 1 - tails])
    return results


def f1_of(counts: Real[np.ndarray, "rows 4"]) -> Float[np.ndarray, " rows"]:
    """F1 (0 to 1, higher is better) from hits, misses and false alarms; 0 without any of them."""
    hits, misses, alarms = counts[:, 0], counts[:, 1], counts[:, 2]
    below = 2 * hits + misses + alarms
    return np.divide(2 * hits, below, out=np.zeros(len(counts)), where=below > 0)


def confusion(
    truth: Bool[np.ndarray, " n"], said: Bool[np.ndarray, "n columns"]
) -> Float[np.ndarray, "columns 4"]:
    """Hits, misses, false alarms and rest of each column against one truth."""
    hits = (truth[:, None] & said).sum(0)
    misses, alarms = truth.sum() - hits, said.sum(0) - hits
    return np.stack([hits, misses, alarms, len(truth) - hits - misses - alarms], axis=1).astype(float)


def benjamini_hochberg(p: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """Adjusted p-values over all tests in the array: reject where at most the rate to hold.

    Benjamini and Hochberg (1995). A p of 1 ranks last and stays 1; where most are, as of units and
    descriptors that never meet, only the others are sorted, which spares as much memory.
    """
    q = np.ones(p.shape)
    below = p < 1
    some = p[below]
    order = np.argsort(some)
    adjusted = some[order] * p.size / np.arange(1, len(some) + 1)
    some[order] = np.minimum.accumulate(adjusted[::-1])[::-1]
    q[below] = np.minimum(some, 1)
    return q
