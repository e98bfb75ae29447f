"""Which formula is kept: exact tests, on noise and where one is truly better."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from saywell.claims.choose import choose, gate_p, paired_p


def agreement(fires, said) -> float:
    """Cohen's kappa by its definition."""
    seen, chance = (fires == said).mean(), fires.mean() * said.mean() + (~fires).mean() * (~said).mean()
    return (seen - chance) / (1 - chance)


@pytest.mark.parametrize("seed", range(4))
def test_the_paired_test_is_that_of_all_swaps(seed):
    random = np.random.default_rng(seed)
    fires, one, other = random.random((3, 14)) < 0.5
    differ = np.flatnonzero(one != other)
    seen, as_good = agreement(fires, other) - agreement(fires, one), []
    for swap in itertools.product([False, True], repeat=len(differ)):
        a, b = one.copy(), other.copy()
        turned = differ[list(swap)]
        a[turned], b[turned] = other[turned], one[turned]
        as_good.append(agreement(fires, b) - agreement(fires, a) >= seen - 1e-12)
    assert paired_p(fires, one, other) == pytest.approx(np.mean(as_good))


def test_equals_are_not_told_apart_and_nothing_fires_is_no_gain():
    yes = np.ones(20, dtype=bool)
    assert paired_p(yes, yes, yes) == 1
    assert choose(~yes, np.array([~yes, ~yes]), np.array([1, 2])) == 0


def test_the_longer_is_taken_only_where_it_is_clearly_better():
    random = np.random.default_rng(0)
    one, two = random.random((2, 2000)) < 0.1
    both = np.array([two, one, one | two])
    sizes = np.array([1, 1, 2])
    assert choose(one | two, both, sizes) == 2
    assert choose(one | (two & (random.random(2000) < 0.04)), both, sizes) == 1
    # All four examples by which they differ speak for the longer, of 16 ways to swap them 1; five would do.
    first = np.arange(2000) < 10
    for more, kept in ((4, 0), (5, 1)):
        fires = np.arange(2000) < 10 + more
        assert choose(fires, np.array([first, fires]), sizes[1:]) == kept
    # A gain that is certain, and too small for an atom more.
    most = np.arange(20_000) < 5000
    assert choose(most, np.array([most & (np.arange(20_000) >= 100), most]), sizes[1:]) == 0


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_on_noise_a_longer_formula_is_rarely_taken(rate):
    # Where 3 in 10 fire, one that says yes to more is ahead in F1 for that alone.
    random = np.random.default_rng(1)
    taken = 0
    for _ in range(200):
        fires, one, two, three = random.random((4, 600)) < rate
        taken += choose(fires, np.array([one, one | two, one | two | three]), np.array([1, 2, 3])) > 0
    assert taken <= 200 * 0.13


def test_the_gate_lets_chance_through_at_most_in_its_share():
    random = np.random.default_rng(2)
    units, examples, tried = 1500, 250, 6
    fires = random.random((units, examples)) < random.uniform(0.01, 0.3, (units, 1))
    said = random.random((units, tried, examples)) < random.uniform(0.01, 0.3, (units, tried, 1))
    hits, length = (said & fires[:, None]).sum(2), said.sum(2)
    fired = fires.sum(1)
    p = gate_p(hits, length, fired[:, None], np.full((units, 1), examples), tried)
    assert (p.min(1) <= 0.05).mean() <= 0.05
    assert p[0, 0] == pytest.approx(
        min(1, 6 * stats.fisher_exact(_table(fires[0], said[0, 0]), alternative="greater").pvalue)
    )
    assert gate_p(np.array([20]), np.array([25]), np.array([30]), np.array([250]), tried)[0] < 1e-9


def _table(fires, said):
    return [[(fires & said).sum(), (fires & ~said).sum()], [(~fires & said).sum(), (~fires & ~said).sum()]]
