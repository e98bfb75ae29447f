from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from saywell.scorers.calibration import apply_platt, fit_platt


def simulate(random, texts, slope, intercept, share=1.0):
    """Evidence (0 for all but a share of the texts) and truth that follows it."""
    evidence = random.exponential(2.0, texts) * (random.random(texts) < share)
    return evidence, random.random(texts) < 1 / (1 + np.exp(-slope * evidence - intercept))


def test_as_sklearn_on_many_texts():
    random = np.random.default_rng(0)
    columns = [simulate(random, 20_000, *of) for of in [(1.0, -2.0), (0.3, 0.5), (2.5, -4.0)]]
    evidence, truth = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
    slope, intercept = fit_platt(evidence, truth)
    for column in range(3):
        model = LogisticRegression(C=1e6).fit(evidence[:, [column]], truth[:, column])
        assert slope[column] == pytest.approx(model.coef_[0, 0], rel=0.01)
        assert intercept[column] == pytest.approx(model.intercept_[0], rel=0.01, abs=0.01)
        assert apply_platt(evidence, slope, intercept)[:, column] == pytest.approx(
            model.predict_proba(evidence[:, [column]])[:, 1], abs=0.005
        )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.002, 0.01, 0.1, 1.0]),
    st.floats(-5, 1),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_the_fit_minimises_platts_loss(seed, share, base, strength, unit):
    evidence, truth = simulate(np.random.default_rng(seed), 2000, strength, base, share)
    slope, intercept = fit_platt(evidence[:, None] * unit, truth[:, None])
    positives = truth.sum()
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (2000 - positives + 2))

    def loss(at):
        logit = at[0] * evidence + at[1]
        return (np.logaddexp(0, logit) - target * logit).sum()

    # The slope may not be negative; with the ridge, no better than a thousandth of the loss is owed.
    best = minimize(loss, [0.1, -1.0], method="L-BFGS-B", bounds=[(0, None), (None, None)]).fun
    assert slope[0] >= 0
    assert loss([slope[0] * unit, intercept[0]]) <= best + 1e-3 * best + 0.05


def test_rare_evidence_that_tells_keeps_its_slope():
    # A full Newton step overshoots here, and would end with a slope of 0.
    evidence = np.zeros((5000, 1))
    evidence[:10] = 3.0
    truth = np.zeros((5000, 1), dtype=bool)
    truth[:8] = truth[100:130] = True
    found = apply_platt(np.array([[0.0], [3.0]]), *fit_platt(evidence, truth))
    assert found.ravel() == pytest.approx([30 / 4990, 8 / 10], abs=0.03)


def test_evidence_never_counts_against_its_descriptor():
    random = np.random.default_rng(0)
    evidence = random.random((500, 1))
    truth = random.random((500, 1)) < 1 - evidence
    slope, intercept = fit_platt(evidence, truth)
    assert slope[0] == 0
    assert apply_platt(evidence, slope, intercept) == pytest.approx(truth.mean(), abs=0.01)


def test_separable_evidence_stays_finite_and_drawn_in():
    evidence = np.arange(20.0)[:, None]
    for truth in (evidence >= 10, evidence >= 19, evidence >= 1):
        slope, intercept = fit_platt(evidence, truth)
        found = apply_platt(evidence, slope, intercept)
        assert np.isfinite([slope, intercept]).all() and slope[0] > 0
        assert found[truth].min() > found[~truth].max()
        assert found.min() > 0 and found.max() < 1
    assert ((apply_platt(evidence, *fit_platt(evidence, evidence >= 10)) > 0.5) == (evidence >= 10)).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.7, 1000.1, -3e7])
def test_constant_evidence_counts_for_nothing(constant):
    truth = np.arange(1000)[:, None] < 300
    slope, intercept = fit_platt(np.full((1000, 1), constant), truth)
    assert slope[0] == 0
    assert apply_platt(np.array([[5e8]]), slope, intercept)[0, 0] == pytest.approx(0.3, abs=0.01)


def test_differences_of_rounding_count_for_nothing():
    truth = np.arange(1000)[:, None] < 300
    slope, _ = fit_platt(np.where(truth, 0.1 + 0.2, 0.3), truth)
    assert slope[0] == 0


@pytest.mark.parametrize("truth", [True, False])
def test_all_or_no_texts_carry_it(truth):
    evidence = np.random.default_rng(0).random((30, 1))
    found = apply_platt(evidence, *fit_platt(evidence, np.full((30, 1), truth)))
    assert found == pytest.approx(31 / 32 if truth else 1 / 32, abs=0.02)


def test_columns_do_not_disturb_each_other():
    random = np.random.default_rng(0)
    columns = [simulate(random, 400, *of) for of in [(1.0, -2.0, 1.0), (3.0, -4.0, 0.01), (0.0, 0.0, 0.3)]]
    evidence, truth = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
    together = fit_platt(evidence, truth)
    for column in range(3):
        alone = fit_platt(evidence[:, [column]], truth[:, [column]])
        assert [part[column] for part in together] == pytest.approx([part[0] for part in alone], abs=1e-6)


def test_no_texts_or_descriptors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in [(0, 2), (5, 0), (0, 0)]:
            fitted = fit_platt(np.zeros(shape), np.zeros(shape, dtype=bool))
            assert [part.shape for part in fitted] == [(shape[1],)] * 2
            assert np.isfinite(fitted).all()
    assert apply_platt(np.array([[1e9, -1e9]]), np.ones(2), np.zeros(2))[0] == pytest.approx([1, 0])
