from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score

from saywell.scorers.joint import _auc, _r_squared, joint, ordered
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from tiny_outcomes import KINDS, drawn


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_measures_of_items_that_count_more_than_once_as_sklearn(seed):
    random = np.random.default_rng(seed)
    predicted, counts = random.integers(6, size=30) * 1.0, random.integers(4, size=30)
    values = np.append([0.0, 1.0], random.integers(2, size=28))
    counts[:2] += 1
    again = np.repeat(np.arange(30), counts)
    assert _auc(values, predicted)(counts * 1.0) == pytest.approx(
        roc_auc_score(values[again], predicted[again])
    )
    assert _r_squared(values, predicted)(counts * 1.0) == pytest.approx(
        r2_score(values[again], predicted[again])
    )


@pytest.mark.parametrize("kind", ["binary", "real"])
def test_what_features_tell_of_items_not_seen(kind):
    outcome, told, readings = drawn(kind, n=700, covariates=3, seed=2)
    noise = np.random.default_rng(0).normal(size=(700, 20))
    train, test = np.arange(400), np.arange(400, 700)
    found = joint(outcome, told, train, test, seed=0)
    model = LogisticRegression() if kind == "binary" else Ridge()
    model.fit(told[train], outcome.values[train])
    plain = model.decision_function(told[test]) if kind == "binary" else model.predict(told[test])
    expected = (roc_auc_score if kind == "binary" else r2_score)(outcome.values[test], plain)
    assert found.measure == ("AUC" if kind == "binary" else "R2")
    assert found.interval.value == pytest.approx(expected, abs=0.005) and found.interval.n == 300
    assert found.interval.low < found.interval.value < found.interval.high
    assert found.interval.high - found.interval.low < 0.25
    # Units and constants of features say nothing; 20 features of noise cost little.
    scaled = np.column_stack([told * [1e-3, 1, 1e3] + 5, np.full(700, 7.0)])
    assert joint(outcome, scaled, train, test, seed=0).interval == pytest.approx(found.interval)
    more = joint(outcome, np.hstack([told, noise]), train, test, seed=0)
    assert more.interval.value > found.interval.value - 0.06
    chance = 0.5 if kind == "binary" else 0
    for nothing in (readings.T, told[:, :0]):
        alone = joint(outcome, nothing, train, test, seed=0).interval
        assert alone.value == pytest.approx(chance, abs=0.06)


def test_of_copies_the_interval_is_that_of_the_originals():
    outcome, told, _ = drawn("binary", n=300, seed=3)
    twice = Outcome("y", "binary", np.repeat(outcome.values, 4))
    rows, clusters = np.arange(1200), np.repeat(np.arange(300), 4)
    wide = joint(twice, np.repeat(told, 4, axis=0), rows[:400], rows[400:], clusters, seed=0).interval
    narrow = joint(twice, np.repeat(told, 4, axis=0), rows[:400], rows[400:], seed=0).interval
    assert wide.value == pytest.approx(narrow.value, abs=0.01)
    assert (wide.high - wide.low) == pytest.approx(2 * (narrow.high - narrow.low), rel=0.2)


def test_one_outcome_only_on_a_side_has_no_answer():
    values = np.concatenate([np.zeros(20), np.arange(20) % 2, [np.nan]])
    outcome, features = Outcome("y", "binary", values), np.random.default_rng(0).normal(size=(41, 2))
    assert np.isnan(joint(outcome, features, np.arange(20), np.arange(20, 41), seed=0).interval.value)
    features[::3, 1] = np.nan
    found = joint(outcome, features, np.arange(10, 41), np.arange(15, 41), seed=0)
    assert np.isfinite(found.interval.value) and found.interval.n == 25


@pytest.mark.parametrize("kind", KINDS)
def test_readings_in_the_order_of_what_each_adds(kind):
    outcome, told, readings = drawn(kind, n=2000, seed=5)
    strong, weak = told[:, 0] > 0, told[:, 1] > 1.8
    copy = np.where(np.arange(2000) < 100, ~strong, strong)
    shown = np.stack([readings[0], copy, weak, np.ones(2000), strong, strong]) * 1.0
    order = ordered(null_model(outcome), shown).tolist()
    # The copy adds little to what it repeats, the second of the same nothing.
    assert order[:2] == [4, 2] and sorted(order[2:4]) == [0, 1] and order[4:] == [3, 5]
    assert 4 not in ordered(null_model(outcome, (told[:, :1] > 0) * 1.0), shown).tolist()[:1]
