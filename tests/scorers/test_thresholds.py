from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.scorers.agreement import f1
from saywell.scorers.thresholds import decide, fit, fit_thresholds


def plain(predicted, fires, weights):
    """Every threshold tried, from the highest down."""
    kept = ~np.isnan(predicted)
    predicted, fires, weights = predicted[kept], fires[kept], weights[kept]
    if not fires.any():
        return np.inf, 0.0
    distinct = np.unique(predicted)[::-1].astype(float)
    between = [*((distinct[:-1] + distinct[1:]) / 2), -np.inf]
    best, value = np.inf, 0.0
    for threshold in between:
        said = predicted >= threshold
        hits = (weights * said * fires).sum()
        found = 2 * hits / ((weights * said).sum() + (weights * fires).sum())
        if found > value:
            best, value = threshold, found
    return best, value


@pytest.mark.parametrize("kind", ["plain", "unanswered", "weighted", "both"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_thresholds_as_trying_every_one(kind, seed):
    random = np.random.default_rng(seed)
    shape = (5, int(random.integers(1, 25)))
    predicted = (random.integers(0, 9, shape) / 4).astype(np.float32)
    fires = random.random(shape) < random.random()
    # Powers of two, so that equal F1 are equal as numbers too.
    weights = 2.0 ** random.integers(0, 3, shape) if kind in ("weighted", "both") else np.ones(shape)
    if kind in ("unanswered", "both"):
        predicted[random.random(shape) < 0.4] = np.nan
    handed = None if kind in ("plain", "unanswered") else weights
    expected = [plain(*row) for row in zip(predicted, fires, weights, strict=True)]
    assert fit_thresholds(predicted, fires, handed).tolist() == [t for t, _ in expected]
    assert fit(predicted, fires, handed)[1] == pytest.approx([value for _, value in expected])
    said = decide(predicted, fit_thresholds(predicted, fires, handed))
    assert (np.isnan(said) == np.isnan(predicted)).all()
    reached = np.nan_to_num(f1(said, fires, handed))
    assert reached == pytest.approx(fit(predicted, fires, handed)[1])


def test_by_hand():
    predicted = np.array([[0.9, 0.8, 0.3, 0.1], [1, 1, 0, 0], [1, 2, 3, 4], [0, 0, 0, 1]])
    fires = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)
    found = fit_thresholds(predicted, fires)
    assert found.tolist() == [pytest.approx(0.55), 0.5, np.inf, -np.inf]
    assert fit(predicted, fires)[1] == pytest.approx([1, 2 / 3, 0, 6 / 7])


def test_of_equal_f1_the_higher_threshold():
    # Saying it of the first: 2/(1+2). Of all four: 4/(4+2). Both 2/3.
    predicted = np.array([[4.0, 3, 2, 1]])
    fires = np.array([[1, 0, 0, 1]], dtype=bool)
    assert fit_thresholds(predicted, fires).tolist() == [3.5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_neighbouring_numbers_are_parted(dtype):
    lower = np.array(1, dtype)
    upper = np.nextafter(lower, dtype(2))
    predicted = np.array([[upper, lower, lower]], dtype=dtype)
    fires = np.array([[1, 0, 0]], dtype=bool)
    assert decide(predicted, fit_thresholds(predicted, fires)).tolist() == [[1, 0, 0]]


def test_infinite_predictions():
    predicted = np.array([[np.inf, 1, -np.inf], [np.inf, -np.inf, -np.inf]])
    fires = np.array([[1, 1, 0], [1, 0, 0]], dtype=bool)
    said = decide(predicted, fit_thresholds(predicted, fires))
    assert said.tolist() == [[1, 1, 0], [1, 0, 0]]


def test_no_answers_and_no_examples():
    assert fit_thresholds(np.full((2, 3), np.nan), np.ones((2, 3), dtype=bool)).tolist() == [np.inf] * 2
    assert fit_thresholds(np.zeros((2, 0)), np.zeros((2, 0), dtype=bool)).tolist() == [np.inf] * 2
    assert fit_thresholds(np.zeros((0, 3)), np.zeros((0, 3), dtype=bool)).shape == (0,)


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    predicted, fires = random.normal(size=(13, 40)), random.random((13, 40)) < 0.2
    whole = fit_thresholds(predicted, fires)
    monkeypatch.setattr("saywell.scorers.thresholds._BLOCK", 90)
    assert (fit_thresholds(predicted, fires) == whole).all()
