"""Weights that differ by rater: against statsmodels, against the plain sum over all weights, and hard cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from saywell.scorers.raters import Rated, Scales, _Fit, _Variances, best_scales, fit_raters, losses


def rated(n=300, readings=3, raters=12, seed=0, *, binary=True, covariates=1):
    random = np.random.default_rng(seed)
    x, c = random.choice([-1.0, 0, 1], (n, readings)), random.normal(size=(n, covariates))
    by = random.integers(-1, raters, size=n)
    told = x @ np.linspace(-1, 1, readings) + c.sum(1) + random.normal(size=raters + 1)[by] * x[:, 0]
    values = (random.random(n) < special.expit(told)) if binary else 3 * told + 7 + random.normal(size=n)
    return Rated(values.astype(float), x, c, by, np.arange(n), binary)


def test_a_linear_model_agrees_with_statsmodels():
    """statsmodels 0.15.0: MixedLM("y ~ c + x", re_formula="~x", covariance of both fixed at 0), by REML."""
    random = np.random.default_rng(12)
    n = 400
    x, by, c = random.choice([-1.0, 0, 1], n), random.integers(20, size=n), random.normal(size=n)
    own = random.normal(size=(20, 2)) * [0.6, 0.8]
    y = 1.5 + 0.5 * c + 0.7 * x + own[by, 0] + own[by, 1] * x + random.normal(size=n)
    data = Rated(y, x[:, None], c[:, None], by, np.arange(n), False)
    found = fit_raters(data, "weights", Scales())
    # Weights of all are drawn towards 0 here, if little, and are not there.
    np.testing.assert_allclose(found.weights, [1.607334, 0.473561, 0.437881], atol=0.05)
    np.testing.assert_allclose(found.spread**2, [0.217017, 0.741108], rtol=0.01)
    assert found.noise == pytest.approx(1.0582408, rel=0.002)
    np.testing.assert_allclose(found.errors, [0.116918, 0.054402, 0.202545], rtol=0.05)
    told = [[0.3767, -0.2387], [-0.3957, 0.9613], [-0.5604, 1.1018], [0.3365, -0.7987]]
    np.testing.assert_allclose(found.own[:4], told, atol=0.05)


@pytest.mark.parametrize("binary", [True, False])
def test_weights_and_errors_are_those_of_one_large_regression(binary):
    """Solved rater by rater, they are what one design with a column for each rater's weights gives."""
    data = rated(binary=binary)
    found = _Variances(
        np.array([1e8, 2.0, 0.5, 0.5, 0.5]), np.array([0.3, 0.2, 0.4, 0.6]), 1.0 if binary else 2.0
    )
    result = _Fit(data, "weights").result(found)
    vary = [0, 2, 3, 4]
    features = data.features
    design = np.zeros((300, 5 + 12 * 4))
    design[:, :5] = features
    for item, rater in enumerate(data.rater):
        if rater >= 0:
            design[item, 5 + 4 * rater : 9 + 4 * rater] = features[item, vary]
    precision = 1 / np.concatenate([found.prior, np.tile(found.between, 12)])
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        told = design @ beta
        mean = special.expit(told) if binary else told
        weight = mean * (1 - mean) if binary else np.ones(300)
        hessian = (design * (weight / found.noise)[:, None]).T @ design + np.diag(precision)
        slope = design.T @ (data.outcome - mean) / found.noise - precision * beta
        beta = beta + np.linalg.solve(hessian, slope)
    np.testing.assert_allclose(result.weights, beta[:5], atol=1e-4)
    np.testing.assert_allclose(result.own, beta[5:].reshape(12, 4), atol=1e-4)
    covariance = np.linalg.inv(hessian)
    np.testing.assert_allclose(result.errors, np.sqrt(np.diag(covariance)[:5]), rtol=1e-3)
    for rater in range(12):
        for place, feature in enumerate(vary):
            both = np.zeros(len(beta))
            both[[feature, 5 + 4 * rater + place]] = 1
            assert result.own_errors[rater, place] == pytest.approx(
                np.sqrt(both @ covariance @ both), rel=1e-3
            )
    told = design @ beta
    np.testing.assert_allclose(result.tell(data), told, atol=1e-3)


def test_a_real_outcome_is_told_alike_in_any_unit():
    data = rated(binary=False)
    found = fit_raters(data, "weights", Scales())
    other = fit_raters(replace(data, outcome=1000 * data.outcome - 5e5), "weights", Scales())
    np.testing.assert_allclose(other.tell(data), 1000 * found.tell(data) - 5e5, rtol=1e-4)
    np.testing.assert_allclose(other.own_errors, 1000 * found.own_errors, rtol=1e-3)
    assert best_scales(data) == best_scales(replace(data, outcome=1000 * data.outcome - 5e5))


def test_spread_on_one_reading_alone_is_found_there():
    random = np.random.default_rng(3)
    n = 2000
    x, by = random.choice([-1.0, 0, 1], (n, 5)), random.integers(25, size=n)
    own = random.normal(size=25)
    told = x @ np.full(5, 0.3) + own[by] * x[:, 2]
    data = Rated((random.random(n) < special.expit(told)) * 1.0, x, np.zeros((n, 0)), by, np.arange(n), True)
    found = fit_raters(data, "weights", Scales())
    assert 0.7 < found.spread[3] / own.std() < 1.3 and found.spread[[1, 2, 4, 5]].max() < 0.5
    scales = best_scales(data)
    assert scales.weights > 0 and scales.level == 0


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": (np.arange(90) % 45 == 0) * 1.0},  # rare, and not by chance
        {"readings": np.repeat(np.eye(3), 30, 0)},  # collinear with the constant
        {"covariates": np.tile(np.linspace(-1, 1, 90), (50, 1)).T},  # 50 times the same
        {"rater": np.zeros(90, int)},  # one rater
        {"rater": np.arange(90) // 3},  # few items each
        {"rater": np.full(90, -1)},  # nobody known
        {"together": np.zeros(90, int)},  # nothing to hold out
        {"readings": np.zeros((90, 3))},
    ],
    ids=["rare", "collinear", "covariates", "one", "each", "nobody", "together", "constant"],
)
@pytest.mark.parametrize("binary", [True, False])
def test_hard_cases_end_in_numbers(change, binary):
    data = replace(rated(90, binary=binary), **change)
    scales = best_scales(data)
    for model in ("all", "level", "weights", "alone"):
        found = fit_raters(data, model, scales)
        assert np.isfinite(found.tell(data)).all() and np.isfinite(found.own_errors).all()
        assert np.isfinite(losses(data, found.tell(data))).all()


def test_complete_separation_ends_in_weights_of_a_size():
    x = np.tile([-1.0, 1], 100)[:, None]
    data = Rated((x[:, 0] > 0) * 1.0, x, np.zeros((200, 0)), np.arange(200) % 4, np.arange(200), True)
    for model in ("all", "weights", "alone"):
        found = fit_raters(data, model, Scales())
        assert 1 < found.weights_of(data.rater)[:, 1].min() < 100
