"""Does the outcome go with a reading, beyond what covariates tell? One null model, thousands of readings.

Readings are numbers of yes and no (of pairs -1, 0, 1): a row each, a column for each row of the null model.
One that does not vary, or not beyond what covariates tell, has no answer (NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import linalg, sparse, special

from saywell.errors import InputError
from saywell.scorers.null_model import Null

Readings: TypeAlias = Shaped[np.ndarray, "m n"] | sparse.csr_array | sparse.csr_matrix
MOST_PERMUTATIONS = 9_999
FEW = 50
"""Scores of equal size that a sum must be worth for its distribution to be called normal."""
_EXTREME = 50  # draws as extreme as what was found: then p is known to a seventh of it
_ALIKE, _ALIKE_SHARE = 10, 0.8  # clusters of one size that can change places, and the share of items in such
_FLOOR = 0.5  # share of the model's variance; few that agree by chance have none of their own
_RARE = 0.1  # share of residuals unlike the others for which only these are dealt
_BLOCK = 8_000_000  # numbers at once
_DEALT = 500_000_000  # numbers in all, if that is enough for a p of 1 in 1,000
_LEAST = 1e-12
_VARIES = 1e-9  # share of a reading's variance that the covariates must leave


class Association(NamedTuple):
    """z: positive where the outcome is higher where the reading is; p: two-sided. NaN: does not vary."""

    z: Float[np.ndarray, " m"]
    p: Float[np.ndarray, " m"]


def screened(null: Null, readings: Readings) -> Float[np.ndarray, " m"]:
    """z of the efficient score test of each reading, by the variance that the null model gives.

    To rank thousands of readings, sparse ones as they are; none may be NaN. Clusters are not looked at.
    """
    score, variance, _ = _efficient(null, readings)
    return score / np.sqrt(variance)


def associations(null: Null, readings: Readings) -> Association:
    """The efficient score test of each reading, whatever the spread of the outcome and within clusters.

    z = U / sqrt(V): U the score of the reading's coefficient, less what the null model's parameters account
    for; V the larger of its variance if the model is right and of the sum of squares of what each cluster
    (or item) adds to U. Of a few items the squares may all be small by chance, and z would be immense.
    z is normal where U is the sum of many: see `small`. NaN in an array of readings: an item that was not
    read, and is left out for that reading.
    """
    z = np.full(_number(null, readings), np.nan)
    for own, part, kept in as_read(null, readings):
        score, variance, projection = _efficient(part, kept)
        z[own] = score / np.sqrt(np.maximum(variance, _robust(part, kept, projection)))
    return Association(z, 2 * special.ndtr(-np.abs(z)))


def _number(null: Null, readings: Readings) -> int:
    """How many readings; those of other items are the caller's mistake."""
    number, items = readings.shape
    assert items == len(null), f"readings of {items} items for a null model of {len(null)}"
    return number


def as_read(null: Null, readings: Readings) -> Iterator[tuple[Int[np.ndarray, " some"], Null, Readings]]:
    """Readings that share the items that were read, with the null model of these items.

    Where these have one outcome only, nothing is yielded.
    """
    if sparse.issparse(readings) or not np.issubdtype(readings.dtype, np.inexact):
        yield np.arange(readings.shape[0]), null, readings
        return
    unread = np.isnan(readings)
    some = unread.any(1)
    if not some.all():
        yield np.flatnonzero(~some), null, readings[~some]
    if not some.any():
        return
    patterns, which = np.unique(unread[some], axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        own = np.flatnonzero(some)[which.ravel() == number]
        try:
            part = null.only(null.rows[~pattern])
        except InputError:  # nothing to explain among these few
            continue
        yield own, part, readings[np.ix_(own, ~pattern)]


def _efficient(
    null: Null, readings: Readings
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, "m parameters"]]:
    """Score, its variance by the model, and the projection on the scores of the model's parameters.

    The score g'r - b'(sum of u) with b = I^-1 (sum of g v): r residuals, u scores, v their covariances with
    r, I the information (Neyman's C(alpha); Rao's score where the model is at its maximum). As products of
    readings with few columns, so that sparse ones stay so.
    """
    _number(null, readings)
    readings = _numbers(readings)
    crossed = readings @ null.cross
    projection = linalg.solve(null.information, crossed.T, assume_a="pos").T
    score = readings @ null.residuals - projection @ null.scores.sum(0)
    alone = _squared(readings) @ null.weights
    variance = alone - (crossed * projection).sum(1)
    variance[variance <= _VARIES * alone] = np.nan
    return score, variance, projection


def _robust(
    null: Null, readings: Readings, projection: Float[np.ndarray, "m parameters"]
) -> Float[np.ndarray, " m"]:
    """The sum of squares of what clusters add to the scores (White 1980; Liang and Zeger 1986)."""
    readings = _numbers(readings)
    if null.cluster is None:
        squares = _squared(readings) @ null.residuals**2
        crossed = readings @ (null.scores * null.residuals[:, None])
        summed, n, free = null.scores, len(null), null.scores.shape[1]
    else:
        belongs = null.belongs()
        n, free = belongs.shape[1], 1
        own = readings @ belongs.multiply(null.residuals[:, None]).tocsr()
        summed = belongs.T @ null.scores
        squares, crossed = np.asarray(_squared(own).sum(1)).ravel(), own @ summed
    together = squares - 2 * (crossed * projection).sum(1)
    together += (projection @ (summed.T @ summed) * projection).sum(1)
    return together * n / (n - free)


def _numbers(readings: Readings) -> Readings:
    """As floating point numbers."""
    return readings if np.issubdtype(readings.dtype, np.floating) else readings.astype(float)


def dense(readings: Readings) -> Float[np.ndarray, "m n"]:
    """As an array."""
    return np.asarray(readings.toarray() if sparse.issparse(readings) else readings, float)  # pyright: ignore


def _squared(readings):
    return readings.multiply(readings) if sparse.issparse(readings) else readings * readings


def beyond(null: Null, readings: Readings) -> Float[np.ndarray, "m n"]:
    """Each reading less what the covariates tell of it, in the weights of the null model."""
    own, weighed = dense(readings), null.design * null.weights[:, None]
    told = linalg.solve(null.design.T @ weighed, (own @ weighed).T, assume_a="pos")
    return own - (null.design @ told).T


def small(null: Null, readings: Readings) -> Bool[np.ndarray, " m"]:
    """Whether a score is the sum of so few that its distribution is not known to be normal: see `permuted`.

    By how many of equal size would have its kurtosis: (sum of variances)^2 / (sum of fourth moments). It is
    small where there are few items or clusters, where a reading or the outcome is rare, where both are,
    and where few values of the outcome outweigh all others. False where a reading does not vary.
    """
    few = np.zeros(_number(null, readings), bool)
    for own, part, kept in as_read(null, readings):
        left = beyond(part, kept)
        squares = left**2 @ part.weights
        varies = squares > _VARIES * (_squared(dense(kept)) @ part.weights)
        few[own] = varies & (squares**2 < FEW * (left**4 @ part.fourth))
        if part.cluster is not None:
            sums = (left * part.residuals) @ part.belongs()
            few[own] |= varies & ((sums**2).sum(1) ** 2 < FEW * (sums**4).sum(1))
    return few


def permuted(
    null: Null, readings: Readings, *, seed: int, most: int = MOST_PERMUTATIONS
) -> Float[np.ndarray, " m"]:
    """p of each reading (two-sided) by dealing the null model's residuals out anew.

    Residuals over their expected spread change places with others of about the same expected outcome;
    clusters as wholes, with others of their size. Where most clusters have a size of their own they stay,
    and the sign of what each adds is drawn (the wild score bootstrap: Kline and Santos 2012).

    The statistic is the score's square over its variance with the reading's effect taken out, so that an
    uneven spread is no finding (Janssen 1997; Chung and Romano 2013); of a binary outcome, whose mean gives
    its spread, over the model's. p = (1 + as extreme) / (1 + drawn), exact without covariates; drawing ends
    at `most`, of more than 50,000 items sooner (2,500 of 200,000), or after 50 as extreme (Besag and
    Clifford 1991). Same seed, same p, whatever other readings there are.
    """
    p = np.full(_number(null, readings), np.nan)
    for own, part, kept in as_read(null, readings):
        left = beyond(part, kept)
        varies = (left**2 @ part.weights) > _VARIES * (_squared(dense(kept)) @ part.weights)
        found, draw = (_signs if _uneven(part) else _places)(part, left[varies], np.random.default_rng(seed))
        draws = min(most, max(999, _DEALT // len(part)))
        p[own[varies]] = _tail(found, draw, draws, max(1, min(_BLOCK // len(part), 500)))
    return p


Drawn: TypeAlias = tuple[
    Float[np.ndarray, " m"], Callable[[int, Int[np.ndarray, " some"]], Float[np.ndarray, "some count"]]
]
"""The statistic of each reading, and that of some readings in each of as many draws as are asked for."""


def _tail(found: Float[np.ndarray, " m"], draw: Callable, most: int, block: int) -> Float[np.ndarray, " m"]:
    """The share of draws that are as extreme, of each reading until it is known well enough."""
    p, hits, taken = np.full(len(found), np.nan), np.zeros(len(found), int), 0
    active = np.flatnonzero(~np.isnan(found))
    while taken < most and len(active):
        count = min(block, most - taken)
        # What is equal but for rounding is as extreme.
        extreme = draw(count, active) >= found[active, None] * (1 - 1e-9)
        total = hits[active, None] + extreme.cumsum(1)
        known = total[:, -1] >= _EXTREME
        last = taken + 1 + (total >= _EXTREME).argmax(1)
        p[active[known]] = _EXTREME / last[known]
        hits[active], taken, active = total[:, -1], taken + count, active[~known]
    p[active] = (1 + hits[active]) / (1 + taken)
    return p


def _places(null: Null, left: Float[np.ndarray, "m n"], random: np.random.Generator) -> Drawn:
    """U^2 / V where residuals over their expected spread change places with others."""
    spread = np.sqrt(np.maximum(null.weights, _LEAST))
    residuals, weights, groups = null.residuals / spread, left * spread, _exchangeable(null)
    for rows in groups:  # what differs between groups is not dealt
        weights[:, rows] -= weights[:, rows].mean(1, keepdims=True)
    powers = [weights] if null.outcome.kind == "binary" else [weights, weights**2, weights**3]
    least = (weights**2).sum(1)[:, None]
    least[least <= _VARIES * (left**2 @ null.weights)[:, None]] = np.nan
    deal = _dealer(groups, residuals, random)
    # Covariates made residuals smaller than the noise that other readings would have met.
    larger = (len(null) - 1) / (len(null) - null.design.shape[1])
    # Only of clusters of several the square of the sum is not the sum of squares.
    many = np.zeros(0, int)
    if null.cluster is not None:
        many = np.flatnonzero(np.bincount(null.cluster)[null.cluster] > 1)
        belongs = null.belongs()[many]

    def statistic(active: Int[np.ndarray, " some"], dealt: _Dealt) -> Float[np.ndarray, "some count"]:
        some = powers if len(active) == len(left) else [power[active] for power in powers]
        own, expected = some[0], least[active]
        score = dealt.times(own, 1)
        if null.outcome.kind == "binary":
            return score**2 / expected
        slope = score / expected
        squares = dealt.times(some[1], 2) - 2 * slope * dealt.times(some[2], 1)
        squares += slope**2 * (some[1] ** 2).sum(1)[:, None]
        if len(many):
            among = dealt.at(many)
            for row, one, of in zip(squares, own[:, many], slope, strict=True):
                added = among * one - of[:, None] * one**2
                row += ((added @ belongs) ** 2).sum(1) - (added**2).sum(1)
        return score**2 / np.maximum(squares, expected * _FLOOR)

    found = statistic(np.arange(len(left)), _Dealt(residuals[None], 0.0))[:, 0]
    return found, lambda count, active: larger * statistic(active, deal(count))


_Groups: TypeAlias = list[Int[np.ndarray, "_ _"]]
"""Rows that can change places, as clusters x size."""


class _Dealt(NamedTuple):
    """Residuals in their places, a row for each draw; where sparse, less the `usual` one, that most have."""

    values: Float[np.ndarray, "count n"] | sparse.csr_array
    usual: float

    def times(self, weights: Float[np.ndarray, "some n"], power: int) -> Float[np.ndarray, "some count"]:
        """The sums of residuals to a power, weighed."""
        if isinstance(self.values, np.ndarray):
            return weights @ (self.values**power).T
        usual = self.usual**power
        own = self.values
        more = sparse.csr_array(
            ((own.data + self.usual) ** power - usual, own.indices, own.indptr), own.shape
        )
        return usual * weights.sum(1)[:, None] + (more @ weights.T).T

    def at(self, rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "count some"]:
        """Those of some rows."""
        some = self.values[:, rows]
        return some if isinstance(some, np.ndarray) else some.toarray() + self.usual


def _dealer(
    alike: _Groups, residuals: Float[np.ndarray, " n"], random: np.random.Generator
) -> Callable[[int], _Dealt]:
    """A function that deals residuals out anew within groups, as often as is asked.

    Where most residuals are one number (a rare outcome without covariates), only the others are dealt.
    """
    found, often = np.unique(residuals, return_counts=True)
    usual = float(found[often.argmax()])
    groups = []
    for rows in alike:
        odd = np.flatnonzero((residuals[rows] != usual).any(1))
        groups.append((rows, odd if len(odd) < _RARE * len(rows) else np.arange(len(rows))))
    n, moved = len(residuals), sum(odd.size * rows.shape[1] for rows, odd in groups)
    values = np.concatenate([residuals[rows[odd]].ravel() for rows, odd in groups])

    def places(count: int) -> Int[np.ndarray, "count moved"]:
        dealt = []
        for rows, odd in groups:
            if len(odd) == len(rows):
                order = random.permuted(np.tile(odd, (count, 1)), axis=1)
            else:
                order = np.stack([random.choice(len(rows), len(odd), replace=False) for _ in range(count)])
            dealt.append(rows[order].reshape(count, -1))
        return np.hstack(dealt)

    def deal(count: int) -> _Dealt:
        at = places(count)
        if moved < _RARE * n:
            each = np.arange(count + 1) * moved
            data = np.tile(values - usual, count)
            return _Dealt(sparse.csr_array((data, at.ravel(), each), (count, n)), usual)
        dealt = np.full((count, n), usual)
        np.put_along_axis(dealt, at, np.broadcast_to(values, at.shape), axis=1)
        return _Dealt(dealt, usual)

    return deal


def _signs(null: Null, left: Float[np.ndarray, "m n"], random: np.random.Generator) -> Drawn:
    """U^2 where the sign of what each cluster adds is drawn; its variance is the same in every draw."""
    assert null.cluster is not None
    added = (left * null.residuals) @ null.belongs()

    def draw(count: int, active: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some count"]:
        signs = random.choice([-1.0, 1.0], (count, added.shape[1]))
        return (added[active] @ signs.T) ** 2

    return added.sum(1) ** 2, draw


def _by_size(null: Null) -> _Groups:
    """Rows of the clusters of each size; a row each where there are none."""
    if null.cluster is None:
        return [np.arange(len(null))[:, None]]
    order, sizes = np.argsort(null.cluster, kind="stable"), np.bincount(null.cluster)
    starts = np.cumsum(sizes) - sizes
    return [order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes)]


def _exchangeable(null: Null) -> _Groups:
    """Rows of clusters that can change places: of one size, and of about the same expected outcome."""
    if null.design.shape[1] == 1:
        return _by_size(null)
    groups = []
    for rows in _by_size(null):
        rows = rows[np.argsort(null.predictor[rows].mean(1), kind="stable")]
        number = max(1, round(len(rows) / max(_ALIKE, np.sqrt(len(rows)))))
        groups.extend(np.array_split(rows, number))
    return groups


def _uneven(null: Null) -> bool:
    """Whether too many clusters have nobody to change places with."""
    alike = sum(rows.size for rows in _by_size(null) if len(rows) >= _ALIKE)
    return null.cluster is not None and alike < _ALIKE_SHARE * len(null)
