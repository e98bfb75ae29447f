from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from saywell.scorers.retrieval import best_precision_at_k, precision_recall_at_k


def test_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.4, 0.3, 0.2]])
    truth = np.array([[1, 0, 1, 0], [1, 0, 0, 1]], dtype=bool)
    precision, recall = precision_recall_at_k(scores, truth, 4)
    assert np.allclose(precision, [[1, 1 / 2, 2 / 3, 2 / 4], [0, 0, 1 / 3, 2 / 4]])
    assert np.allclose(recall, [[1 / 2, 1 / 2, 1, 1], [0, 0, 1 / 2, 1]])


def test_fewer_descriptors_than_k_pay_for_the_missing():
    precision, recall = precision_recall_at_k(np.array([[2.0, 1.0]]), np.array([[True, True]]), 4)
    assert np.allclose(precision, [[1, 1, 2 / 3, 2 / 4]])
    assert np.allclose(recall, [[1 / 2, 1, 1, 1]])


def test_ties_rank_by_column():
    truth = np.array([[False, True, False]])
    precision, _ = precision_recall_at_k(np.ones((1, 3)), truth, 3)
    assert np.allclose(precision, [[0, 1 / 2, 1 / 3]])


@pytest.mark.parametrize("nothing", [0.0, -1.0, np.nan])
def test_what_has_no_evidence_is_not_predicted(nothing):
    scores, truth = np.array([[nothing, 0.5, nothing]]), np.array([[True, True, True]])
    precision, recall = precision_recall_at_k(scores, truth, 3)
    assert np.allclose(precision, [[1, 1 / 2, 1 / 3]])
    assert np.allclose(recall, 1 / 3)


def test_empty_truth_is_nan():
    truth = np.array([[False, False], [True, False]])
    for found in (*precision_recall_at_k(np.ones((2, 2)), truth, 3), best_precision_at_k(truth, 3)):
        assert np.isnan(found[0]).all() and not np.isnan(found[1]).any()


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0, 0)])
def test_nothing_to_rank(shape):
    truth = np.zeros(shape, dtype=bool)
    for found in (*precision_recall_at_k(np.zeros(shape), truth, 3), best_precision_at_k(truth, 3)):
        assert found.shape == (shape[0], 3) and np.isnan(found).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_as_a_plain_loop_and_as_sklearn(seed, columns, k, coarse):
    random = np.random.default_rng(seed)
    scores = random.integers(-1, 3, (6, columns)) * 1.0 if coarse else random.random((6, columns)) + 0.1
    truth = random.random((6, columns)) < 0.4
    precision, recall = precision_recall_at_k(scores, truth, k)
    top = np.zeros_like(truth)
    for text in range(6):
        ranked = sorted(range(columns), key=lambda c: (-scores[text, c], c))[:k]
        top[text, [c for c in ranked if scores[text, c] > 0]] = True
        if not truth[text].any():
            assert np.isnan(precision[text]).all() and np.isnan(recall[text]).all()
            continue
        hits = (top[text] & truth[text]).sum()
        assert precision[text, -1] == pytest.approx(hits / k)
        assert recall[text, -1] == pytest.approx(hits / truth[text].sum())
    carries = truth.any(1)
    if carries.any() and columns > 1:
        options = {"average": "samples", "zero_division": 0.0}
        assert recall[carries, -1].mean() == pytest.approx(
            recall_score(truth[carries], top[carries], **options)
        )
        if not coarse and k <= columns:  # sklearn divides by what was predicted, we by k
            expected = precision_score(truth[carries], top[carries], **options)
            assert precision[carries, -1].mean() == pytest.approx(expected)


def test_best_precision_by_hand_and_reached_by_a_perfect_ranking():
    truth = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=bool)
    best = best_precision_at_k(truth, 5)
    assert np.allclose(best[:2], [[1, 1, 2 / 3, 2 / 4, 2 / 5], [1, 1, 1, 1, 4 / 5]])
    perfect, _ = precision_recall_at_k(truth.astype(float), truth, 5)
    assert np.allclose(best, perfect, equal_nan=True)
