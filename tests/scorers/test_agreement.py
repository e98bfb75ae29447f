from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from saywell.scorers.agreement import (
    MEASURES,
    auprc,
    auroc,
    balanced_accuracy,
    cosine,
    f1,
    iou,
    mean_activation_difference,
    pearson,
    precision,
    recall,
)

seeds = st.integers(0, 2**31)


def draw(seed, units=2, examples=20):
    """Decisions, coarse predictions with many ties, firing and responses; some rows without firing."""
    random = np.random.default_rng(seed)
    said = random.random((units, examples)) < random.random((units, 1))
    fires = random.random((units, examples)) < random.random((units, 1))
    fires[0] &= random.random() < 0.5
    predicted = random.integers(0, random.integers(1, 12), (units, examples)) / 3
    response = random.normal(size=(units, examples)) + fires
    weights = random.integers(1, 9, (units, examples)) / 2.0
    return said, predicted, fires, response, weights


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=15, deadline=None)
@given(seeds)
def test_decisions_as_sklearn(weighted, seed):
    said, _, fires, _, weights = draw(seed)
    given_weights = weights if weighted else None
    for measure, theirs in [
        (f1, metrics.f1_score),
        (iou, metrics.jaccard_score),
        (precision, metrics.precision_score),
        (recall, metrics.recall_score),
    ]:
        found = measure(said, fires, given_weights)
        for unit, (y, s, w) in enumerate(zip(fires, said, weights, strict=True)):
            defined = {precision: s.any(), recall: y.any()}.get(measure, s.any() or y.any())
            if defined:
                expected = theirs(y, s, sample_weight=w if weighted else None, zero_division=0)
                assert found[unit] == pytest.approx(expected)
            else:
                assert np.isnan(found[unit])
    found = balanced_accuracy(said, fires, given_weights)
    for unit, (y, s, w) in enumerate(zip(fires, said, weights, strict=True)):
        if y.any() and not y.all():
            theirs = metrics.balanced_accuracy_score(y, s, sample_weight=w if weighted else None)
            assert found[unit] == pytest.approx(theirs)
        else:
            assert np.isnan(found[unit])


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=30, deadline=None)
@given(seeds)
def test_rankings_as_sklearn(weighted, seed):
    _, predicted, fires, _, weights = draw(seed)
    precision_found = auprc(predicted, fires, weights if weighted else None)
    area = auroc(predicted, fires, weights if weighted else None)
    for unit in range(len(fires)):
        arguments = (fires[unit], predicted[unit])
        sample_weight = weights[unit] if weighted else None
        if not fires[unit].any():
            assert np.isnan(precision_found[unit]) and np.isnan(area[unit])
            continue
        theirs = metrics.average_precision_score(*arguments, sample_weight=sample_weight)
        assert precision_found[unit] == pytest.approx(theirs)
        if not fires[unit].all():
            theirs = metrics.roc_auc_score(*arguments, sample_weight=sample_weight)
            assert area[unit] == pytest.approx(theirs)
        else:
            assert np.isnan(area[unit])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_values_as_scipy_and_numpy(seed):
    said, predicted, _, response, weights = draw(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        expected = [stats.pearsonr(p, r)[0] for p, r in zip(predicted, response, strict=True)]
    assert pearson(predicted, response) == pytest.approx(expected, nan_ok=True, abs=1e-12)
    for unit in range(len(said)):
        p, r, w, s = predicted[unit], response[unit], weights[unit], said[unit]
        if np.ptp(p) > 0:
            covariance = np.cov(p, r, aweights=w)
            theirs = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
            assert pearson(predicted, response, weights)[unit] == pytest.approx(theirs)
        if p.any():
            theirs = p @ r / np.linalg.norm(p) / np.linalg.norm(r)
            assert cosine(predicted, response)[unit] == pytest.approx(theirs)
        found = mean_activation_difference(said, response, weights)[unit]
        if s.any() and not s.all():
            theirs = np.average(r[s], weights=w[s]) - np.average(r[~s], weights=w[~s])
            assert found == pytest.approx(theirs)
        else:
            assert np.isnan(found)


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_weights_count_examples_as_often_as_they_say(name, seed):
    said, predicted, fires, response, _ = draw(seed)
    measure = MEASURES[name]
    predictions = said if measure.predictions == "said" else predicted
    truth = fires if measure.truth == "fires" else response
    often = np.random.default_rng(seed).integers(0, 4, fires.shape[1])
    repeated = measure.function(np.repeat(predictions, often, 1), np.repeat(truth, often, 1))
    weighted = measure.function(predictions, truth, often.astype(float))
    assert weighted == pytest.approx(repeated, nan_ok=True, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_what_was_not_answered_is_left_out_and_counted(name, seed):
    said, predicted, fires, response, weights = draw(seed)
    measure = MEASURES[name]
    predictions = (said if measure.predictions == "said" else predicted).astype(np.float32)
    truth = fires if measure.truth == "fires" else response
    gone = np.random.default_rng(seed).random(fires.shape) < 0.3
    predictions[gone] = np.nan
    found = measure.function(predictions, truth, weights)
    for unit, out in enumerate(gone):
        alone = measure.function(
            predictions[[unit]][:, ~out], truth[[unit]][:, ~out], weights[[unit]][:, ~out]
        )
        assert found[unit] == pytest.approx(alone[0], nan_ok=True, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_undefined_is_nan_and_never_zero(name):
    function = MEASURES[name].function
    nothing = np.full((1, 5), np.nan)
    assert np.isnan(function(nothing, np.ones((1, 5), dtype=bool))).all()
    assert np.isnan(function(np.zeros((2, 0)), np.zeros((2, 0)))).all()
    assert np.isnan(function(np.zeros((1, 5)), np.zeros((1, 5)))).all()
    assert function(np.zeros((0, 5)), np.zeros((0, 5))).shape == (0,)


def test_constant_predictions_have_no_correlation():
    # The mean of 0.1 three times is not 0.1: rounding must not look like variance.
    assert np.isnan(pearson(np.full((1, 3), 0.1), np.array([[1.0, 2, 4]])))
    assert np.isnan(pearson(np.array([[1.0, 2, 4]]), np.full((1, 3), 0.1)))


def test_an_answer_of_nothing_scores_zero_where_something_fires():
    said, fires = np.zeros((1, 4)), np.array([[1, 0, 0, 1]], dtype=bool)
    assert (f1(said, fires)[0], iou(said, fires)[0], recall(said, fires)[0]) == (0, 0, 0)
    assert np.isnan(precision(said, fires)[0])


def test_many_units_are_worked_on_a_few_at_a_time(monkeypatch):
    said, predicted, fires, _, weights = draw(0, units=17)
    whole = f1(said, fires, weights), auprc(predicted, fires, weights)
    monkeypatch.setattr("saywell.scorers.agreement._BLOCK", 60)
    assert np.array_equal(f1(said, fires, weights), whole[0], equal_nan=True)
    assert np.array_equal(auprc(predicted, fires, weights), whole[1], equal_nan=True)


def test_measures_say_what_they_are():
    assert [name for name, measure in MEASURES.items() if measure.headline] == [
        "f1",
        "iou",
        "pearson",
        "cosine",
        "auprc",
    ]
    assert all(measure.misses and "\n" not in measure.misses for measure in MEASURES.values())
