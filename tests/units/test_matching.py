"""Latents matched one to one, by activations over pieces of text and by direction, against plain loops."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from saywell.units.matching import (
    Matched,
    aligned,
    assign,
    chance,
    correlation_of,
    correlations,
    cosine_candidates,
    gathered,
)


def cut(text: str, at: list[int]) -> np.ndarray:
    """Spans of a text that is cut at these places; a space before a word is in no token."""
    edges = [0, *sorted({place for place in at if 0 < place < len(text)}), len(text)]
    spans = [(a + (text[a] == " "), b) for a, b in pairwise(edges)]
    return np.array([(0, 0), *((a, b) for a, b in spans if b > a)])


@given(st.lists(st.integers(1, 24)), st.lists(st.integers(1, 24)), st.integers(5, 25))
@settings(max_examples=80, deadline=None)
def test_a_piece_ends_where_both_have_an_end(one, other, length):
    text = ("two words and so on, and more")[:25]
    first, second = cut(text, one), cut(text[:length], other)
    a, b, count = aligned(first, second)
    ends = sorted({e for _, e in first} & {e for _, e in second} - {0})
    assert count == len(ends)
    for spans, pieces in ((first, a), (second, b)):
        for (_, end), piece in zip(spans, pieces, strict=True):
            before = [number for number, edge in enumerate(ends) if end and edge >= end]
            assert piece == (before[0] if before else -1)


def test_a_piece_has_the_largest_of_its_tokens():
    activations = sp.csr_matrix([[1.0, 0], [3, 0], [0, 2], [9, 9]])
    assert gathered(activations, np.array([0, 0, 1, -1]), 3).toarray().tolist() == [[3, 0], [0, 2], [0, 0]]


@pytest.fixture(scope="module")
def two():
    """Activations of 12 and 15 latents at 500 pieces; 0 to 9 of the first are 14 to 5 of the other, with noise."""
    random = np.random.default_rng(0)
    first = (random.random((500, 12)) < 0.1) * random.random((500, 12))
    second = (random.random((500, 15)) < 0.1) * random.random((500, 15))
    second[:, 14:4:-1] = first[:, :10] * (random.random((500, 10)) < 0.8)
    first[:, 11] = 0
    return sp.csr_matrix(first), sp.csr_matrix(second)


def test_correlations_are_pearsons(two):
    first, second = two
    full = np.nan_to_num(np.corrcoef(first[:, :11].toarray().T, second.toarray().T)[:11, 11:])
    found = correlations(first, second, candidates=99).toarray()
    met = (first[:, :11] > 0).astype(float).T.toarray() @ (second > 0).astype(float).toarray() > 0
    assert found[:11] == pytest.approx(np.where(met, np.maximum(full, 0), 0))
    assert not found[11].any()  # it never fires
    few = correlations(first, second, candidates=2).toarray()
    assert (few > 0).sum(1).max() == 2
    assert few.max(1) == pytest.approx(found.max(1))
    assert not correlations(first, second, fewest=10**6).nnz
    pairs = Matched(np.array([0, 3, 11]), np.array([14, 2, 0]), np.zeros(3))
    assert correlation_of(first, second, pairs) == pytest.approx(
        [full[0, 14], full[3, 2], np.nan], nan_ok=True
    )


def test_planted_pairs_are_found_and_chance_is_below_them(two):
    found = assign(correlations(*two))
    pairs = dict(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {n: pairs[n] for n in range(10)} == {n: 14 - n for n in range(10)}
    assert 11 not in pairs
    by_chance = chance(*two, seed=0, shuffles=5)
    assert by_chance.shape == (5, 12)
    assert by_chance.max() < found.alike[:10].min()
    assert by_chance[:, :10].min() > 0


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_the_assignment_is_the_best_there_is(seed, n, m):
    random = np.random.default_rng(seed)
    alike = random.random((n, m)) * (random.random((n, m)) < 0.6)
    found = assign(sp.csr_matrix(alike))
    rows, columns = linear_sum_assignment(-alike)
    assert found.alike.sum() == pytest.approx(alike[rows, columns].sum())
    assert len(set(found.second)) == len(found.second)
    assert (found.alike > 0).all()


def test_nothing_alike_is_matched_with_nobody():
    assert len(assign(sp.csr_matrix((3, 2))).first) == 0


def test_directions_in_blocks_are_directions_at_once():
    random = np.random.default_rng(0)
    one, other = random.standard_normal((20, 6)), random.standard_normal((9, 6))
    other[4] = 0
    lengths = np.maximum(np.linalg.norm(other, axis=1), 1e-30)
    full = (one / np.linalg.norm(one, axis=1, keepdims=True)) @ (other / lengths[:, None]).T
    for cells in (1, 30, 10**6):
        found = cosine_candidates(one, other, candidates=99, cells=cells).toarray()
        assert found == pytest.approx(np.maximum(full, 0))
        few = cosine_candidates(one, other, candidates=2, cells=cells).toarray()
        assert few.max(1) == pytest.approx(found.max(1))
