"""What an outcome is where nothing but the covariates explains it: the model that a reading has to add to.

It is fitted once and serves thousands of readings: a score test (Rao 1948) asks of each how the residuals of
this model go with it, so no model is fitted per reading, and none that could fail to have an estimate,
as where a reading separates a rare outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import linalg, sparse, special

from saywell.errors import InputError
from saywell.scorers.outcomes import Outcome

MOST_STEPS_OF_ORDER = 50
"""Different values of an ordinal outcome; each takes a threshold."""
_RIDGE = 0.01
"""Prior of 10 log odds for a standard deviation: there is an estimate where covariates separate outcomes."""
_COLLINEAR = 1e-6  # of a column's length, what the others do not explain
_ROUNDS, _TOLERANCE = 100, 1e-10


@dataclass(frozen=True)
class Null:
    """An outcome explained by covariates alone, on the items of which it is known.

    Logistic, linear, proportional odds or Poisson (with dispersion) regression, by the kind of the outcome.
    Arrays have a row for each of `rows`, the numbers of the items among all those of the outcome.
    `design`: ones and the covariates, made orthogonal and of mean square 1; `dropped`: which covariates the
    others before them determine. `predictor`: linear, the higher the higher the expected outcome.
    `residuals`: derivatives of the log likelihood by the predictor, positive where the outcome is higher
    than expected, over the square root of the dispersion; `weights` and `fourth`: their second and fourth
    moments if the model is right. `scores`: derivatives by each parameter,
    `cross`: their covariances with the residual; `information`: of the parameters. `cluster`: what each row
    belongs to, numbered from 0; None where each stands alone.
    """

    outcome: Outcome
    covariates: Float[np.ndarray, "items covariates"]
    clusters: Int[np.ndarray, " items"] | None
    rows: Int[np.ndarray, " n"]
    design: Float[np.ndarray, "n columns"]
    dropped: tuple[int, ...]
    predictor: Float[np.ndarray, " n"]
    residuals: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    fourth: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, "n parameters"]
    cross: Float[np.ndarray, "n parameters"]
    information: Float[np.ndarray, "parameters parameters"]
    cluster: Int[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def values(self) -> Float[np.ndarray, " n"]:
        """The outcome of the rows."""
        return self.outcome.values[self.rows]

    def belongs(self) -> sparse.csr_array:
        """Rows by clusters: 1 where the row belongs to it."""
        assert self.cluster is not None
        n, number = len(self), int(self.cluster.max()) + 1
        return sparse.csr_array((np.ones(n), self.cluster, np.arange(n + 1)), (n, number))

    def only(self, rows: Int[np.ndarray, " some"]) -> Null:
        """The same, fitted on some of its rows, given as numbers of items."""
        return null_model(self.outcome, self.covariates, self.clusters, rows)


class _Fit(NamedTuple):
    predictor: Float[np.ndarray, " n"]
    residuals: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    fourth: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, "n parameters"]
    cross: Float[np.ndarray, "n parameters"]
    information: Float[np.ndarray, "parameters parameters"]


def null_model(
    outcome: Outcome,
    covariates: Float[np.ndarray, "items covariates"] | None = None,
    clusters: Int[np.ndarray, " items"] | None = None,
    rows: Int[np.ndarray, " some"] | None = None,
) -> Null:
    """The outcome explained by covariates alone; items of which it is not known are left out.

    `covariates`, without a column of ones, and `clusters` have a row for each item of the outcome. `rows`:
    the items to be used; all by default. Raises InputError for an outcome that does not vary, has values
    that its kind does not allow, or has no more items than covariates, or one cluster.
    """
    number = len(outcome.values)
    covariates = np.zeros((number, 0)) if covariates is None else covariates
    rows = np.arange(number) if rows is None else rows
    rows = rows[outcome.known[rows]]
    values = outcome.values[rows]
    _check(outcome, values)
    design, dropped = _design(covariates[rows])
    if len(rows) <= design.shape[1] + 1:
        raise InputError(
            f"target {outcome.name!r} is known of {len(rows)} items and has {design.shape[1] - 1} covariates:"
            " there must be at least 3 items more than covariates; give more items or fewer covariates"
        )
    left = values - design @ (design.T @ values / len(rows))
    if np.abs(left).max() <= 1e-9 * np.ptp(values):
        raise InputError(
            f"target {outcome.name!r} is determined by the covariates: leave out the one that says it"
        )
    fit = _FITS[outcome.kind](values, design)
    cluster = None
    if clusters is not None:
        found, cluster = np.unique(clusters[rows], return_inverse=True)
        cluster = None if len(found) == len(rows) else cluster
        if len(found) == 1:
            raise InputError(
                f"all {len(rows)} items of target {outcome.name!r} belong together (near duplicates, one"
                " group): they count as one, with nothing to compare it to; give texts of several groups"
            )
    return Null(outcome, covariates, clusters, rows, design, dropped, *fit, cluster)


def _check(outcome: Outcome, values: Float[np.ndarray, " n"]) -> None:
    """Refuse what cannot be explained."""
    what = f"target {outcome.name!r}"
    if not len(values):
        raise InputError(f"{what} is known of no item: there is nothing to explain")
    if not np.isfinite(values).all():
        raise InputError(f"{what} has the value {values[~np.isfinite(values)][0]}: give finite numbers")
    if (values == values[0]).all():
        raise InputError(f"{what} is {values[0]:g} for all {len(values)} items: there is nothing to explain")
    if outcome.kind == "binary" and not np.isin(values, (0, 1)).all():
        odd = values[~np.isin(values, (0, 1))][0]
        raise InputError(f"{what} is binary and has the value {odd:g}: give 0, 1 or nothing")
    if outcome.kind == "count" and values.min() < 0:
        raise InputError(f"{what} is a count and has the value {values.min():g}; take it as real")
    if outcome.kind == "ordinal" and (steps := len(np.unique(values))) > MOST_STEPS_OF_ORDER:
        raise InputError(
            f"{what} is ordinal and has {steps} different values, where at most {MOST_STEPS_OF_ORDER} are"
            " steps of an order; take it as real"
        )


def _design(covariates: Float[np.ndarray, "n c"]) -> tuple[Float[np.ndarray, "n columns"], tuple[int, ...]]:
    """Ones and the covariates made orthogonal, each of mean square 1; and those that add no direction.

    What is tested does not depend on how the covariates are written, and a fit is stable with these.
    """
    n, number = covariates.shape
    columns = np.empty((n, number + 1), order="F")
    columns[:, 0], kept, dropped = 1, 1, []
    for place in range(number):
        given = covariates[:, place]
        left = own = given - given.mean()
        for _ in range(2):  # twice is enough (Kahan): the first leaves what was rounded
            left = left - columns[:, :kept] @ (columns[:, :kept].T @ left) / n
        length = np.linalg.norm(left)
        # Of a constant far from 0 what was rounded is left.
        if length <= _COLLINEAR * np.linalg.norm(own) or length <= 1e-12 * np.linalg.norm(given):
            dropped.append(place)
            continue
        columns[:, kept] = left * (np.sqrt(n) / length)
        kept += 1
    return columns[:, :kept], tuple(dropped)


def _linear(values: Float[np.ndarray, " n"], design: Float[np.ndarray, "n columns"]) -> _Fit:
    n, columns = design.shape
    expected = design @ (design.T @ values / n)
    residuals = values - expected
    residuals = residuals / np.sqrt(residuals @ residuals / (n - columns))
    ones = np.ones(n)
    return _generalised(expected, residuals, ones, (residuals**4).mean() * ones, design)


def _logistic(values: Float[np.ndarray, " n"], design: Float[np.ndarray, "n columns"]) -> _Fit:
    start = special.logit(values.mean())
    predictor = _newton(values, design, start, special.expit, lambda mean: mean * (1 - mean), _bernoulli)
    mean = special.expit(predictor)
    weights = mean * (1 - mean)
    return _generalised(predictor, values - mean, weights, weights * (1 - 3 * weights), design)


def _poisson(values: Float[np.ndarray, " n"], design: Float[np.ndarray, "n columns"]) -> _Fit:
    start = np.log(values.mean())
    predictor = _newton(values, design, start, np.exp, lambda mean: mean, _counts)
    mean = np.exp(predictor)
    dispersion = ((values - mean) ** 2 / mean).sum() / (len(values) - design.shape[1])
    residuals = (values - mean) / np.sqrt(dispersion)
    return _generalised(predictor, residuals, mean, mean**2 * ((residuals**2 / mean) ** 2).mean(), design)


def _generalised(predictor, residuals, weights, fourth, design: Float[np.ndarray, "n columns"]) -> _Fit:
    """Of a model with one linear predictor and nothing else."""
    cross = design * weights[:, None]
    return _Fit(predictor, residuals, weights, fourth, design * residuals[:, None], cross, design.T @ cross)


def _bernoulli(values: Float[np.ndarray, " n"], predictor: Float[np.ndarray, " n"]) -> float:
    return float(values @ predictor - np.logaddexp(0, predictor).sum())


def _counts(values: Float[np.ndarray, " n"], predictor: Float[np.ndarray, " n"]) -> float:
    with np.errstate(over="ignore"):
        return float(values @ predictor - np.exp(predictor).sum())


def _newton(values, design, start, inverse_link, variance, likelihood) -> Float[np.ndarray, " n"]:
    """The linear predictor of a regression with its canonical link; a faint ridge on all but the constant."""
    beta = np.zeros(design.shape[1])
    beta[0] = start
    ridge = np.full(len(beta), _RIDGE)
    ridge[0] = 0
    predictor = design @ beta
    best = likelihood(values, predictor)
    for _ in range(_ROUNDS):
        mean = inverse_link(predictor)
        slope = design.T @ (values - mean) - ridge * beta
        step = linalg.solve(
            (design * variance(mean)[:, None]).T @ design + np.diag(ridge), slope, assume_a="pos"
        )
        moved, gain = 1.0, slope @ step
        if gain <= _TOLERANCE * (1 + abs(best)):
            break
        while True:
            tried = beta + moved * step
            ahead = design @ tried
            value = likelihood(values, ahead) - ridge @ tried**2 / 2
            if value >= best:
                break
            moved /= 2
            if moved < 1e-6:
                return predictor
        beta, predictor, best = tried, ahead, value
    return predictor


def _proportional_odds(values: Float[np.ndarray, " n"], design: Float[np.ndarray, "n columns"]) -> _Fit:
    """McCullagh (1980), by Fisher scoring: logit P(outcome <= step j) = threshold j - predictor."""
    _, step = np.unique(values, return_inverse=True)
    below = np.cumsum(np.bincount(step))[:-1] / len(step)
    covariates = design[:, 1:]  # the thresholds are constants enough
    number = len(below)
    parameters = np.concatenate([special.logit(below), np.zeros(covariates.shape[1])])
    ridge = np.concatenate([np.zeros(number), np.full(covariates.shape[1], _RIDGE)])
    found, best = _odds(step, covariates, parameters, number)
    assert found is not None
    for _ in range(_ROUNDS):
        slope = found.scores.sum(0) - ridge * parameters
        move = linalg.solve(found.information + np.diag(ridge), slope, assume_a="pos")
        if slope @ move <= _TOLERANCE * (1 + abs(best)):
            break
        moved = 1.0
        while True:
            tried = parameters + moved * move
            ahead, value = _odds(step, covariates, tried, number)
            value -= ridge @ tried**2 / 2
            if value >= best:
                break
            moved /= 2
            if moved < 1e-6:
                return found
        parameters, found, best = tried, ahead, value
        assert found is not None
    return found


def _odds(
    step: Int[np.ndarray, " n"],
    covariates: Num[np.ndarray, "n c"],
    parameters: Float[np.ndarray, " all"],
    number: int,
) -> tuple[_Fit | None, float]:
    """The model at some parameters (thresholds, then slopes), and its log likelihood.

    No model, and minus infinity, where the thresholds are not in order.
    """
    thresholds, slopes = parameters[:number], parameters[number:]
    if (np.diff(thresholds) <= 0).any():
        return None, -np.inf
    n = len(step)
    predictor = covariates @ slopes
    ends = special.expit(thresholds - predictor[:, None])
    # P(outcome <= step), with 0 below the first and 1 at the last.
    ends = np.hstack([np.zeros((n, 1)), ends, np.ones((n, 1))])
    chances = np.maximum(np.diff(ends, axis=1), 1e-300)
    rises = ends[:, 1:-1] * (1 - ends[:, 1:-1])  # of each P by its threshold
    each = ends[:, 1:] + ends[:, :-1] - 1  # the residual of each step, were it the outcome
    rows = np.arange(n)
    residuals = each[rows, step]
    scores = np.zeros((n, number))
    under, over = step < number, step > 0
    scores[rows[under], step[under]] = (rises / chances[:, :-1])[rows[under], step[under]]
    scores[rows[over], step[over] - 1] -= (rises / chances[:, 1:])[rows[over], step[over] - 1]
    weights = (chances * each**2).sum(1)
    cross = -rises * (chances[:, :-1] + chances[:, 1:])
    information = np.zeros((len(parameters),) * 2)
    at = np.arange(number)
    information[at, at] = (rises**2 * (1 / chances[:, :-1] + 1 / chances[:, 1:])).sum(0)
    beside = -(rises[:, :-1] * rises[:, 1:] / chances[:, 1:-1]).sum(0)
    information[at[:-1], at[1:]] = information[at[1:], at[:-1]] = beside
    information[:number, number:] = cross.T @ covariates
    information[number:, :number] = information[:number, number:].T
    information[number:, number:] = (covariates * weights[:, None]).T @ covariates
    fit = _Fit(
        predictor,
        residuals,
        weights,
        (chances * each**4).sum(1),
        np.hstack([scores, covariates * residuals[:, None]]),
        np.hstack([cross, covariates * weights[:, None]]),
        information,
    )
    return fit, float(np.log(chances[rows, step]).sum())


_FITS = {"binary": _logistic, "real": _linear, "ordinal": _proportional_odds, "count": _poisson}
