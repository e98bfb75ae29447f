from __future__ import annotations

from math import comb

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from saywell.describers.associations import associate, enrichment_p, expected_hits, length_strata, stands_out
from saywell.scorers.intervals import benjamini_hochberg


def draw_exemplars(random, units, texts, drawn):
    matrix = np.zeros((units, texts))
    for row in matrix:
        row[random.choice(texts, drawn, replace=False)] = 1
    return sp.csr_matrix(matrix)


def test_p_by_hand():
    # 10 texts, 4 carry it, 3 are drawn, 2 of them carry it:
    # (C(4,2) C(6,1) + C(4,3) C(6,0)) / C(10,3) = (36 + 4) / 120.
    p = enrichment_p(np.array([[2]]), np.array([3]), np.array([4]), 10)
    assert p[0, 0] == pytest.approx(1 / 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_p_is_the_hypergeometric_tail_and_fishers(population, data):
    carrying = data.draw(st.integers(0, population))
    drawn = data.draw(st.integers(1, min(population, 60)))
    hits = data.draw(st.integers(max(0, drawn + carrying - population), min(drawn, carrying)))
    p = enrichment_p(np.array([[hits]]), np.array([drawn]), np.array([carrying]), population)[0, 0]
    exact = sum(
        comb(carrying, k) * comb(population - carrying, drawn - k) for k in range(hits, drawn + 1)
    ) / comb(population, drawn)
    assert p == pytest.approx(exact, rel=1e-8)
    assert p == pytest.approx(stats.hypergeom.sf(hits - 1, population, carrying, drawn), rel=1e-8)
    rest = population - carrying
    table = [[hits, carrying - hits], [drawn - hits, rest - (drawn - hits)]]
    assert p == pytest.approx(stats.fisher_exact(table, alternative="greater")[1], rel=1e-8)


def test_p_of_many_units_and_small_tails():
    random = np.random.default_rng(0)
    population, drawn = 30_000, np.array([100, 100, 37, 0])
    carrying = random.integers(1, 3000, 20)
    hits = np.minimum(random.integers(0, 60, (4, 20)), np.minimum(drawn[:, None], carrying))
    p = enrichment_p(hits, drawn, carrying, population)
    expected = stats.hypergeom.sf(hits - 1, population, carrying[None, :], drawn[:, None])
    assert expected.min() < 1e-50
    assert np.allclose(p[:3], expected[:3], rtol=1e-7, atol=0)
    assert (p[3] == 1).all()


def small():
    """Two units with exemplars among six texts, three descriptors; short texts first."""
    exemplars = np.array([[1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0], [0] * 6])
    tags = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    strata = np.array([0, 0, 0, 1, 1, 1])
    return exemplars, tags, strata


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, np.float64])
def test_composition_and_lift_by_hand(dtype):
    exemplars, tags, strata = small()
    found = associate(sp.csr_matrix(exemplars.astype(dtype)), sp.csr_matrix(tags.astype(dtype)), strata)
    assert found.hits.tolist() == [[2, 2, 0], [1, 1, 0], [0, 0, 0]]
    assert np.allclose(found.composition, [[2 / 3, 2 / 3, 0], [1, 1, 0], [0, 0, 0]])
    # Rates: short texts 2/3, 1/3, 0; long ones 1/3, 2/3, 0. The first unit has 2 short and 1 long.
    expected = [[2 * 2 / 3 + 1 / 3, 2 * 1 / 3 + 2 / 3], [1 / 3, 2 / 3]]
    assert np.allclose(found.lift[:2, :2], np.array([[2, 2], [1, 1]]) / expected)
    assert not found.lift[2].any() and not found.lift[:, 2].any()
    assert np.allclose(
        found.p,
        stats.hypergeom.sf(found.hits - 1, 6, np.array([[3, 3, 0]]), np.array([[3], [1], [0]])).clip(0, 1),
    )
    assert np.allclose(found.q, benjamini_hochberg(found.p))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_expected_hits_as_a_plain_loop(seed, groups):
    random = np.random.default_rng(seed)
    exemplars, tags = random.random((4, 30)) < 0.3, random.random((30, 5)) < 0.4
    strata = length_strata(random.integers(1, 12, 30), groups)
    expected = np.zeros((4, 5))
    for unit in range(4):
        for text in np.flatnonzero(exemplars[unit]):
            alike = [other for other in range(30) if strata[other] == strata[text]]
            for descriptor in range(5):
                expected[unit, descriptor] += np.mean([tags[other, descriptor] for other in alike])
    found = expected_hits(sp.csr_matrix(exemplars), sp.csr_matrix(tags), strata)
    assert np.allclose(found, expected)


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 12))
def test_strata_are_of_consecutive_lengths(lengths, groups):
    lengths = np.array(lengths, dtype=int)
    strata = length_strata(lengths, groups)
    assert len(strata) == len(lengths)
    assert sorted(set(strata.tolist())) == list(range(len(set(strata.tolist()))))
    assert len(set(strata.tolist())) <= groups
    for a, b in zip(lengths, strata, strict=True):
        assert all((a < c) <= (b <= d) and (a != c or b == d) for c, d in zip(lengths, strata, strict=True))


def test_strata_are_of_equal_size_as_a_plain_loop():
    lengths = np.random.default_rng(0).permutation(100)
    expected = np.array([sum(1 for edge in range(10, 100, 10) if length >= edge) for length in lengths])
    assert (length_strata(lengths) == expected).all()
    assert (length_strata(np.full(7, 3)) == 0).all()
    assert length_strata(np.array([1, 2, 2, 3]), 2).tolist() == [0, 0, 0, 1]


def test_planted_descriptors_are_enriched_and_frequent_ones_only_composed():
    random = np.random.default_rng(0)
    tags = random.random((400, 2)) < [0.05, 0.9]
    tags[:30, 0] = True
    exemplars = np.zeros((1, 400))
    exemplars[0, :20] = 1
    found = associate(sp.csr_matrix(exemplars), sp.csr_matrix(tags), np.zeros(400, dtype=int))
    assert found.composed(0.5).tolist() == [[True, True]]
    assert found.enriched().tolist() == [[True, False]]


def test_significant_but_hardly_more_than_expected_is_not_enriched():
    tags = np.arange(4000)[:, None] % 2 == 0
    exemplars = (np.arange(4000) < 2400) & (tags[:, 0] | (np.arange(4000) % 16 < 14))
    found = associate(sp.csr_matrix(exemplars[None, :]), sp.csr_matrix(tags), np.zeros(4000, dtype=int))
    assert found.q[0, 0] < 1e-5 and 1.05 < found.lift[0, 0] < 1.1
    assert not found.enriched().any()


@pytest.mark.parametrize("base", [0.05, 0.4, 0.8, 0.95])
def test_a_unit_can_be_what_most_texts_are(base):
    """Of 4,000 texts a share carries it; of 200 exemplars all but one do, or no more than of all."""
    tags = (np.arange(4000) < base * 4000)[:, None]
    carrying, others = np.flatnonzero(tags[:, 0]), np.flatnonzero(~tags[:, 0])
    usual = round(200 * base)
    exemplars = np.zeros((2, 4000))
    exemplars[0, [*carrying[:199], others[0]]] = 1
    exemplars[1, [*carrying[:usual], *others[: 200 - usual]]] = 1
    found = associate(sp.csr_matrix(exemplars), sp.csr_matrix(tags), np.zeros(4000, dtype=int))
    assert found.enriched().tolist() == [[True], [False]]


def test_odds_as_fishers_table():
    share, expected = np.array([0.0, 0.3, 0.6, 0.9, 1.0, 0.2]), np.array([0.2] * 5 + [0.0])
    odds = (share / (1 - share + 1e-300)) / np.maximum(expected / (1 - expected), 1e-300)
    assert stands_out(share, expected).tolist() == (odds >= 1.5).tolist()
    assert not stands_out(np.array([0.0, 1.0]), np.array([0.0, 1.0])).any()


def test_rules_want_three_hits():
    tags = np.zeros((500, 2))
    tags[:2, 0] = tags[:3, 1] = 1
    exemplars = np.zeros((1, 500))
    exemplars[0, :4] = 1
    found = associate(sp.csr_matrix(exemplars), sp.csr_matrix(tags), np.zeros(500, dtype=int))
    assert (found.q <= 0.05).all()
    assert found.enriched().tolist() == found.composed(0.1).tolist() == [[False, True]]


def test_random_exemplars_are_rarely_enriched():
    # Nothing is true here, so any rejection is a false discovery: at most 5 % of data sets may
    # have one, and 5 % of 400 come out above 32 once in 300 tries.
    random = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        tags = sp.csr_matrix(random.random((120, 12)) < random.uniform(0.05, 0.5, 12))
        found = associate(draw_exemplars(random, 10, 120, 20), tags, np.zeros(120, dtype=int))
        rejected += bool((found.q <= 0.05).any())
    assert rejected <= 32
    assert rejected >= 1  # and not because nothing is ever found


def test_nothing_in_nothing_out():
    for units, texts, descriptors in [(0, 5, 3), (2, 0, 3), (2, 5, 0)]:
        found = associate(
            sp.csr_matrix((units, texts)), sp.csr_matrix((texts, descriptors)), np.zeros(texts, dtype=int)
        )
        assert all(part.shape == (units, descriptors) for part in found)
        assert not found.enriched().any() and not found.composed(0.0).any()
    assert length_strata(np.zeros(0, dtype=int)).shape == (0,)
