from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import confusion_matrix, f1_score

from saywell.scorers.intervals import (
    benjamini_hochberg,
    bootstrap_f1,
    bootstrap_mean,
    bootstrap_means,
    confusion,
    f1_of,
    share_interval,
)


@pytest.mark.parametrize("name", ["normal", "exponential", "coin"])
def test_intervals_cover_the_mean_about_as_often_as_they_say(name):
    random = np.random.default_rng(0)
    draw = {
        "normal": (lambda n: random.normal(3.0, 2.0, n), 3.0),
        "exponential": (lambda n: random.exponential(1.0, n), 1.0),
        "coin": (lambda n: (random.random(n) < 0.3) * 1.0, 0.3),
    }
    sample, truth = draw[name]
    covered = [
        low <= truth <= high
        for _, low, high, _ in (bootstrap_mean(sample(80), seed=trial, resamples=200) for trial in range(300))
    ]
    # Percentile intervals of 80 values fall a little short.
    assert 0.90 <= np.mean(covered) <= 0.98


def test_a_mean_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(0).normal(size=2000)
    interval = bootstrap_mean(values)
    error = values.std() / np.sqrt(2000)
    assert interval.value == pytest.approx(values.mean()) and interval.n == 2000
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_nan_is_left_out_column_by_column():
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 3))
    values[::3, 1] = np.nan
    values[:, 2] = np.nan
    one, two, three = bootstrap_means(values)
    assert (one.n, two.n, three.n) == (300, 200, 0)
    kept = values[~np.isnan(values[:, 1]), 1]
    assert two.value == pytest.approx(kept.mean())
    alone = bootstrap_mean(kept)
    assert two.low == pytest.approx(alone.low, abs=0.03)
    assert two.high == pytest.approx(alone.high, abs=0.03)
    assert np.isnan([three.value, three.low, three.high]).all()


def test_one_value_or_none():
    assert bootstrap_mean(np.array([2.0])) == (2.0, 2.0, 2.0, 1)
    assert bootstrap_mean(np.array([2.0, np.nan, np.nan, np.nan]))[:4] == (2.0, 2.0, 2.0, 1)
    for values in (np.zeros(0), np.array([np.nan])):
        interval = bootstrap_mean(values)
        assert np.isnan(interval[:3]).all() and interval.n == 0
    assert bootstrap_means(np.zeros((5, 0))) == []


def test_columns_share_resamples_and_seeds_repeat():
    values = np.random.default_rng(0).normal(size=(50, 1))
    first, shifted = bootstrap_means(np.hstack([values, values + 10]), seed=3)
    assert shifted.low == pytest.approx(first.low + 10) and shifted.high == pytest.approx(first.high + 10)
    assert bootstrap_means(values, seed=3)[0] == bootstrap_means(values, seed=3)[0]
    assert bootstrap_means(values, seed=3)[0] == pytest.approx(first)
    assert bootstrap_means(values, seed=4)[0] != bootstrap_means(values, seed=3)[0]


def test_means_as_a_plain_loop():
    values = np.random.default_rng(1).exponential(size=40)
    random = np.random.default_rng(2)
    drawn = [random.choice(values, 40).mean() for _ in range(20_000)]
    _, low, high, _ = bootstrap_mean(values, resamples=20_000)
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_many_rows_need_no_memory_for_every_resample():
    values = np.random.default_rng(0).random((30_000, 10))
    tracemalloc.start()
    bootstrap_means(values, resamples=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # 200 resamples x 30,000 weights are 48 MB


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1))
def test_f1_and_confusion_as_sklearn(seed, carrying, saying):
    random = np.random.default_rng(seed)
    truth, said = random.random(25) < carrying, random.random((25, 3)) < saying
    cells = confusion(truth, said)
    for column in range(3):
        (rest, alarms), (misses, hits) = confusion_matrix(truth, said[:, column], labels=[False, True])
        assert cells[column].tolist() == [hits, misses, alarms, rest]
        assert f1_of(cells)[column] == pytest.approx(f1_score(truth, said[:, column], zero_division=0))


def test_confusion_and_f1_by_hand():
    truth = np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    said = np.array([[1, 1, 0, 1, 0, 0, 0], [0] * 7], dtype=bool).T
    assert confusion(truth, said).tolist() == [[2, 1, 1, 3], [0, 3, 0, 4]]
    assert f1_of(confusion(truth, said)) == pytest.approx([2 * 2 / (2 * 2 + 1 + 1), 0])
    assert f1_of(np.array([[0.0, 0, 0, 9]])).tolist() == [0]
    assert confusion(truth[:0], said[:0]).tolist() == [[0] * 4] * 2


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**31))
def test_bootstrap_f1_as_a_plain_resampling_loop(seed):
    random = np.random.default_rng(seed)
    truth = random.random(150) < 0.4
    said = truth ^ (random.random(150) < 0.2)
    value, low, high = bootstrap_f1(confusion(truth, said[:, None]), resamples=4000)[0]
    drawn = []
    for _ in range(2000):
        rows = random.integers(150, size=150)
        hits = (truth[rows] & said[rows]).sum()
        drawn.append(2 * hits / (truth[rows].sum() + said[rows].sum()))
    assert value == pytest.approx(f1_score(truth, said))
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)
    assert low < value < high


def test_bootstrap_f1_of_nothing_and_of_perfection():
    found = bootstrap_f1(np.array([[0.0, 0, 0, 0], [5, 0, 0, 5], [0, 3, 3, 3], [0, 0, 0, 7]]))
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [1, 1, 1] and found[2].tolist() == found[3].tolist() == [0, 0, 0]
    assert bootstrap_f1(np.zeros((0, 4))).shape == (0, 3)
    cells = np.array([[9.0, 4, 3, 20]])
    assert (bootstrap_f1(cells, seed=1) == bootstrap_f1(cells, seed=1)).all()


def test_benjamini_hochberg_by_hand():
    # Sorted 0.01 0.02 0.03 0.8 of 4: times 4/rank 0.04 0.04 0.04 0.8, then the running minimum.
    p = np.array([[0.8, 0.01], [0.03, 0.02]])
    assert np.allclose(benjamini_hochberg(p), [[0.8, 0.04], [0.04, 0.04]])
    assert np.allclose(benjamini_hochberg(np.array([0.04, 0.05])), [0.05, 0.05])
    assert np.allclose(benjamini_hochberg(np.array([0.001, 0.5, 0.9])), [0.003, 0.75, 0.9])
    assert benjamini_hochberg(np.ones((3, 0))).shape == (3, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_benjamini_hochberg_rejects_as_the_step_up_procedure(p, rate):
    ranked = sorted(p)
    # The largest i with p_(i) <= i/m * rate; comparing as the adjusted value does avoids ties lost to rounding.
    last = max((i for i, v in enumerate(ranked, 1) if v * len(p) / i <= rate), default=0)
    adjusted = benjamini_hochberg(np.array(p))
    near = np.isclose(adjusted, rate, rtol=1e-9)
    rejected = np.array(p) <= (ranked[last - 1] if last else -1)
    assert ((adjusted <= rate) | near == rejected | near).all()


@given(st.lists(st.one_of(st.just(1.0), st.floats(0, 1)), min_size=1, max_size=40))
def test_benjamini_hochberg_equals_scipy(p):
    expected = stats.false_discovery_control(np.array(p), method="bh")
    np.testing.assert_allclose(benjamini_hochberg(np.array(p)), expected, rtol=1e-12)


def test_shares_as_clopper_and_pearson_and_never_a_point():
    for successes, n in [(0, 25), (3, 25), (25, 25), (1, 1)]:
        found = share_interval(np.array([1.0] * successes + [0.0] * (n - successes) + [np.nan]))
        exact = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
        assert found.value == successes / n and found.n == n
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert share_interval(np.zeros(25)).high == pytest.approx(0.137, abs=1e-3)
    thirds = share_interval(np.array([1 / 3, 2 / 3, 1.0, 0.0] * 10))
    assert thirds.value == pytest.approx(0.5) and thirds.low < 0.4 < 0.6 < thirds.high
    assert np.isnan(share_interval(np.array([np.nan]))[:3]).all()
