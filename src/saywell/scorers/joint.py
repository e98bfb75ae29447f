"""How much hypotheses say together: a linear model of all, on items it has not seen; and in which order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from saywell.scorers.association import Readings, beyond, dense
from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval
from saywell.scorers.null_model import Null
from saywell.scorers.outcomes import Outcome

STRENGTHS = tuple(10.0**power for power in range(-4, 3))
"""Of the L2 penalty, in items: that of ridge regression over the number of items."""
_FOLDS = 5
_MOST = 20_000  # items that choose the strength
_LEAST = 1e-9


class Joint(NamedTuple):
    """`measure`: AUC of a binary outcome, 0.5 by chance; R2 of others, 0 for the mean of train items."""

    measure: str
    interval: Interval


def joint(
    outcome: Outcome,
    features: Float[np.ndarray, "items features"],
    train: Int[np.ndarray, " some"],
    test: Int[np.ndarray, " others"],
    clusters: Int[np.ndarray, " items"] | None = None,
    *,
    seed: int,
) -> Joint:
    """How well a linear model of the features, fitted on train items, tells the outcome of test items.

    Logistic regression for a binary outcome, least squares for others, on features of equal spread (NaN is
    their mean), with the L2 penalty that predicts best in 5 folds of at most 20,000 train items. The
    interval is of 1,000 resamples of test items, clusters as wholes; train items stay as they are. NaN where
    train or test items have one outcome only.
    """
    train, test = (rows[outcome.known[rows]] for rows in (train, test))
    values, binary = outcome.values, outcome.kind == "binary"
    measure = "AUC" if binary else "R2"
    if any(not len(rows) or np.ptp(values[rows]) == 0 for rows in (train, test)):
        return Joint(measure, Interval(np.nan, np.nan, np.nan, len(test)))
    own = np.arange(len(values)) if clusters is None else clusters
    random = np.random.default_rng(seed)
    predicted = _predicted(*_scaled(features, train, test), values[train], own[train], binary, random)
    measured = _auc if binary else _r_squared
    _, groups = np.unique(own[test], return_inverse=True)
    number = int(groups.max()) + 1
    counts = (np.bincount(random.integers(number, size=number), minlength=number) for _ in range(RESAMPLES))
    figure = measured(values[test], predicted)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile([figure(count[groups].astype(float)) for count in counts], tails)
    return Joint(measure, Interval(figure(np.ones(len(test))), float(low), float(high), len(test)))


def _scaled(
    features: Float[np.ndarray, "items features"],
    train: Int[np.ndarray, " some"],
    test: Int[np.ndarray, " others"],
) -> tuple[Float[np.ndarray, "some varying"], Float[np.ndarray, "others varying"]]:
    """Of mean 0 and variance 1 on train items; those that do not vary there are left out."""
    seen = features[train]
    known = ~np.isnan(seen)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, seen, 0).sum(0) / count
    spread = np.sqrt((np.where(known, seen - mean, 0) ** 2).sum(0) / count)
    varies = spread > _LEAST * np.maximum(np.abs(mean), _LEAST)
    return tuple(
        np.nan_to_num((features[rows][:, varies] - mean[varies]) / spread[varies]) for rows in (train, test)
    )


def _predicted(seen, unseen, values, clusters, binary: bool, random) -> Float[np.ndarray, " others"]:
    """What the model with the best penalty says of the unseen."""
    if not seen.shape[1]:
        return np.full(len(unseen), values.mean())

    def fitted(rows: Int[np.ndarray, " some"], strength: float):
        penalty = strength * len(rows)
        model = LogisticRegression(C=1 / penalty, max_iter=1000) if binary else Ridge(penalty)
        return model.fit(seen[rows], values[rows])

    def said(model, of) -> Float[np.ndarray, " some"]:
        return model.decision_function(of) if binary else model.predict(of)

    some = random.permutation(len(values))[:_MOST]
    loss = np.zeros(len(STRENGTHS))
    folds = min(_FOLDS, len(np.unique(clusters[some])))
    for fitting, checking in GroupKFold(folds).split(some, groups=clusters[some]) if folds > 1 else ():
        if np.ptp(values[some[fitting]]) == 0:
            continue  # nothing to learn from in this fold
        truth = values[some[checking]]
        for place, strength in enumerate(STRENGTHS):
            guess = said(fitted(some[fitting], strength), seen[some[checking]])
            off = np.logaddexp(0, guess) - truth * guess if binary else (truth - guess) ** 2
            loss[place] += off.sum()
    best = STRENGTHS[int(loss.argmin())] if loss.any() else 1.0
    return said(fitted(np.arange(len(values)), best), unseen)


def _auc(values: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]):
    """The area under the ROC curve as a function of how often each item counts; NaN of one outcome only."""
    _, place = np.unique(predicted, return_inverse=True)

    def figure(counts: Float[np.ndarray, " n"]) -> float:
        yes, no = np.bincount(place, counts * values), np.bincount(place, counts * (1 - values))
        pairs = yes.sum() * no.sum()
        return float(yes @ (no.cumsum() - no / 2) / pairs) if pairs else np.nan

    return figure


def _r_squared(values: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]):
    """1 - squared error / variance, as a function of how often each item counts; NaN without variance."""

    def figure(counts: Float[np.ndarray, " n"]) -> float:
        mean = values @ counts / counts.sum()
        spread = (values - mean) ** 2 @ counts
        return float(1 - (values - predicted) ** 2 @ counts / spread) if spread else np.nan

    return figure


def ordered(null: Null, readings: Readings) -> Int[np.ndarray, " m"]:
    """Readings by what each adds to those before it, most first (forward selection), as row numbers.

    Added is what the score test finds of the reading less what covariates and those before tell of it, in
    the weights of the null model. Those that add nothing, as they repeat others, are last as given.
    """
    own = dense(readings)
    own = np.where(np.isnan(own), np.nanmean(own, axis=1, keepdims=True), own)
    root = np.sqrt(null.weights)
    left = beyond(null, own) * root
    target = null.residuals / np.maximum(root, _LEAST)
    whole = own**2 @ null.weights
    order: list[int] = []
    for _ in own:
        squares = (left**2).sum(1)
        open_ = squares > _LEAST * whole
        open_[order] = False
        if not open_.any():
            break
        gain = np.where(open_, (left @ target) ** 2 / np.where(open_, squares, 1), -1)
        best = int(
            (gain >= gain.max() * (1 - _LEAST)).argmax()
        )  # the first of what is equal but for rounding
        order.append(best)
        unit = left[best] / np.sqrt(squares[best])
        target = target - (unit @ target) * unit
        left = left - np.outer(left @ unit, unit)
    return np.array([*order, *(row for row in range(len(own)) if row not in order)], int)
