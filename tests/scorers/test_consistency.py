from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from saywell.scorers.consistency import jaccard, jaccard_with_others


def test_jaccard_by_hand():
    first = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
    second = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    assert np.allclose(jaccard(first, second), [1 / 3, 1, np.nan, 0, 0], equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_jaccard_as_sklearn(seed):
    first, second = np.random.default_rng(seed).random((2, 5, 7)) < 0.5
    found = jaccard(first, second)
    for unit in range(5):
        if first[unit].any() or second[unit].any():
            assert found[unit] == pytest.approx(jaccard_score(first[unit], second[unit]))
        else:
            assert np.isnan(found[unit])


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_no_unit_is_its_own_control_and_every_other_set_is_used_once(units, seed):
    # Each unit alone has its descriptor, so meeting itself would score 1.
    own = np.eye(units, dtype=bool)
    assert (jaccard_with_others(own, own, seed=seed) == 0).all()
    # Sets of growing size: the sizes met are all sizes, each once.
    growing = np.tril(np.ones((units, units), dtype=bool))
    whole = np.ones((units, units), dtype=bool)
    met = jaccard_with_others(whole, growing, seed=seed) * units
    assert sorted(met.round().astype(int).tolist()) == list(range(1, units + 1))


def test_the_control_is_random_but_repeatable():
    growing, whole = np.tril(np.ones((9, 9), dtype=bool)), np.ones((9, 9), dtype=bool)
    found = {tuple(jaccard_with_others(whole, growing, seed=seed)) for seed in range(5)}
    assert len(found) > 1
    assert len({tuple(jaccard_with_others(whole, growing, seed=0)) for _ in range(3)}) == 1


def test_without_another_unit_there_is_no_control():
    assert np.isnan(jaccard_with_others(np.ones((1, 2), dtype=bool), np.ones((1, 2), dtype=bool))).all()
    empty = np.zeros((0, 2), dtype=bool)
    assert jaccard_with_others(empty, empty).shape == jaccard(empty, empty).shape == (0,)
    assert np.isnan(jaccard(np.zeros((2, 0), dtype=bool), np.zeros((2, 0), dtype=bool))).all()
