from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from saywell.errors import InputError
from saywell.scorers.association import screened
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome


def told(n=300, seed=0):
    random = np.random.default_rng(seed)
    return random, random.normal(size=(n, 2)) * [1, 5] + [0, 3]


def log_likelihood(kind, values, design, parameters):
    if kind == "ordinal":
        ends = np.concatenate([[-np.inf], parameters[:3], [np.inf]])
        eta, step = design[:, 1:] @ parameters[3:], values.astype(int)
        return np.log(special.expit(ends[step + 1] - eta) - special.expit(ends[step] - eta)).sum()
    eta = design @ parameters
    return (values * eta - (np.logaddexp(0, eta) if kind == "binary" else np.exp(eta))).sum()


@pytest.mark.parametrize("kind", ["binary", "count", "ordinal"])
def test_at_the_maximum_of_the_likelihood(kind):
    """Found by an optimiser that knows nothing but the likelihood; moments are those of draws from it."""
    random, covariates = told()
    eta = covariates @ [0.6, -0.1]
    values = {
        "binary": random.random(300) < special.expit(eta),
        "count": random.poisson(np.exp(eta)),
        "ordinal": np.digitize(eta + random.logistic(size=300), [-1, 0, 1]),
    }[kind] * 1.0
    null = null_model(Outcome("y", kind, values), covariates)
    start = np.array([-1.0, 0, 1, 0, 0]) if kind == "ordinal" else np.zeros(3)
    best = optimize.minimize(lambda at: -log_likelihood(kind, values, null.design, at), start, tol=1e-10).x
    if kind == "ordinal":
        ends = np.concatenate([[-np.inf], best[:3], [np.inf]])
        below = special.expit(ends - (null.design[:, 1:] @ best[3:])[:, None])
        chances, each = np.diff(below, axis=1), below[:, 1:] + below[:, :-1] - 1
        residuals = each[np.arange(300), values.astype(int)]
        weights, fourth = (chances * each**2).sum(1), (chances * each**4).sum(1)
    elif kind == "binary":
        mean = special.expit(null.design @ best)
        residuals, weights = values - mean, mean * (1 - mean)
        fourth = mean * (1 - mean) ** 4 + (1 - mean) * mean**4
    else:
        weights = np.exp(null.design @ best)
        spread = np.sqrt(((values - weights) ** 2 / weights).sum() / 297)
        residuals, fourth = (values - weights) / spread, None
    assert null.residuals == pytest.approx(residuals, abs=2e-3)
    assert null.weights == pytest.approx(weights, abs=2e-3)
    if fourth is not None:
        assert null.fourth == pytest.approx(fourth, abs=2e-3)


@pytest.mark.parametrize("kind", ["binary", "real", "count", "ordinal"])
def test_information_is_that_of_simulated_scores(kind):
    """Covariances that formulas give beside those of outcomes drawn from the model."""
    random, covariates = told(60)
    eta = covariates[:, 0] * 0.5
    draw = {
        "binary": lambda: random.random(60) < special.expit(eta),
        "real": lambda: eta + random.normal(size=60),
        "count": lambda: random.poisson(np.exp(eta)),
        "ordinal": lambda: np.digitize(eta + random.logistic(size=60), [-1, 1]),
    }[kind]
    reading = (random.random(60) < 0.4) * 1.0
    z, off, squares = [], [], []
    for _ in range(120):
        null = null_model(Outcome("y", kind, draw() * 1.0), covariates)
        z.append(screened(null, reading[None])[0])
        off.append(null.scores.T @ null.scores - null.information)
        squares.append(null.residuals @ null.residuals - null.weights.sum())
    assert abs(np.mean(z)) < 0.3 and np.std(z) == pytest.approx(1, abs=0.18)
    scale = np.sqrt(np.diag(null.information))
    assert np.abs(np.mean(off, axis=0) / np.outer(scale, scale)).max() < 0.2
    assert abs(np.mean(squares)) < 0.1 * null.weights.sum()


def test_covariates_that_others_determine_are_dropped():
    random, covariates = told()
    more = np.stack([covariates.sum(1), np.full(300, 1e6) / 3, random.normal(size=300)], axis=1)
    outcome = Outcome("y", "real", random.normal(size=300))
    null = null_model(outcome, np.hstack([covariates, more]))
    assert null.dropped == (2, 3)
    kept = null_model(outcome, np.hstack([covariates, more[:, 2:]]))
    assert kept.residuals == pytest.approx(null.residuals) and kept.dropped == ()
    assert null.design.T @ null.design == pytest.approx(300 * np.eye(4), abs=1e-9)


@pytest.mark.parametrize("kind", ["binary", "ordinal"])
def test_covariates_may_separate_the_outcome(kind):
    """One item in 1,000 and 50 covariates: the likelihood has no maximum."""
    random = np.random.default_rng(0)
    values = np.zeros(1000)
    values[5] = 1
    if kind == "ordinal":
        values[9] = 2
    null = null_model(Outcome("y", kind, values), random.normal(size=(1000, 50)))
    z = screened(null, (random.random((200, 1000)) < 0.2) * 1.0)
    assert np.isfinite(z).all() and np.abs(z).max() < 20


def test_items_of_which_the_outcome_is_not_known_are_left_out():
    random, covariates = told(50)
    values = random.normal(size=50)
    values[[3, 20]] = np.nan
    null = null_model(Outcome("y", "real", values), covariates, np.arange(50) % 7, np.arange(10, 40))
    assert null.rows.tolist() == [row for row in range(10, 40) if row != 20] and len(null) == 29
    assert null.cluster is not None and (null.belongs().sum(1) == 1).all() and null.belongs().shape == (29, 7)
    assert null_model(Outcome("y", "real", values), clusters=np.arange(50)).cluster is None


@pytest.mark.parametrize(
    ("kind", "values", "covariates", "says"),
    [
        ("binary", [1.0] * 9, 0, "'stars' is 1 for all 9 items"),
        ("real", [np.nan] * 9, 0, "known of no item"),
        ("real", [1.0, np.inf, 3.0, 4.0], 0, "has the value inf"),
        ("binary", [0.0, 1, 2, 1, 0], 0, "is binary and has the value 2"),
        ("count", [0.0, 3, -2, 1, 0], 0, "is a count and has the value -2"),
        ("ordinal", np.arange(80.0), 0, "80 different values"),
        ("real", np.arange(8.0), 6, "8 items and has 6 covariates"),
        ("binary", [0.0, 1] * 10, 1, "determined by the covariates"),
        ("real", np.arange(8.0), 0, "all 8 items of target 'stars' belong together"),
    ],
)
def test_what_cannot_be_explained_is_said(kind, values, covariates, says):
    values = np.array(values, float)
    beside = np.random.default_rng(0).normal(size=(len(values), covariates))
    if "determined" in says:
        beside = 3 - values[:, None]
    clusters = np.zeros(len(values), int) if "belong" in says else None
    with pytest.raises(InputError, match=says):
        null_model(Outcome("stars", kind, values), beside, clusters)
