"""Which formula is kept: exact tests, on noise and where one is truly better."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from saywell.claims.choose import LEVEL, Shown, borne_out, choose, gate, paired_p


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
    assert paired_p(one, other, fires) == pytest.approx(np.mean(as_good))


def test_equals_are_not_told_apart_and_nothing_fires_is_no_gain():
    yes = np.ones(20, dtype=bool)
    assert paired_p(yes, yes, yes) == 1
    assert choose(np.array([~yes, ~yes]), ~yes, np.array([1, 2])) == 0


def test_the_longer_is_taken_only_where_it_is_clearly_better():
    random = np.random.default_rng(0)
    one, two = random.random((2, 2000)) < 0.1
    both = np.array([two, one, one | two])
    sizes = np.array([1, 1, 2])
    assert choose(both, one | two, sizes) == 2
    assert choose(both, one | (two & (random.random(2000) < 0.04)), sizes) == 1
    # All four examples by which they differ speak for the longer, of 16 ways to swap them 1; five would do.
    first = np.arange(2000) < 10
    for more, kept in ((4, 0), (5, 1)):
        fires = np.arange(2000) < 10 + more
        assert choose(np.array([first, fires]), fires, sizes[1:]) == kept
    # A gain that is certain, and too small for an atom more.
    most = np.arange(20_000) < 5000
    assert choose(np.array([most & (np.arange(20_000) >= 100), most]), most, sizes[1:]) == 0


def test_of_one_size_both_parts_decide_and_a_further_phrase_has_its_price():
    fires, shown = np.arange(20) < 5, np.arange(100) < 25
    luckier = np.array([fires, np.arange(20) < 6])
    found = Shown(np.array([np.roll(shown, 20), shown]), shown)
    assert choose(luckier, fires, np.array([1, 1])) == 0
    assert choose(luckier, fires, np.array([1, 1]), found) == 1
    assert choose(luckier, fires, np.array([1, 2]), found) == 0
    assert choose(np.array([fires, fires]), fires, np.array([1.25, 1])) == 1


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_on_noise_a_longer_formula_is_rarely_taken(rate):
    # Where 3 in 10 fire, one that says yes to more is ahead in F1 for that alone.
    random = np.random.default_rng(1)
    taken = 0
    for _ in range(200):
        fires, one, two, three = random.random((4, 600)) < rate
        taken += choose(np.array([one, one | two, one | two | three]), fires, np.array([1, 2, 3])) > 0
    assert taken <= 200 * 0.13


def test_the_gate_lets_chance_through_at_most_in_its_share():
    random = np.random.default_rng(2)
    units, examples, tried = 1500, 250, 6
    fires = random.random((units, examples)) < random.uniform(0.01, 0.3, (units, 1))
    said = random.random((units, tried, examples)) < random.uniform(0.01, 0.3, (units, tried, 1))
    through = gate(said, fires[:, None], tried=tried)
    assert through.any(1).mean() <= LEVEL
    for n in range(100):
        p = stats.fisher_exact(_table(fires[n], said[n, 0]), alternative="greater").pvalue
        assert gate(said[n, 0], fires[n], tried=1) == (p <= LEVEL)
        assert gate(said[n, 0], fires[n], tried=5) == (5 * p <= LEVEL)
    assert gate(fires[0] | (random.random(examples) < 0.05), fires[0], tried=tried)


def test_what_is_borne_out_tells_more_than_yes_to_all_where_anything_does():
    fires = np.arange(100) < 60
    strict, chance, right = fires & (np.arange(100) < 20), np.arange(100) % 2 == 0, np.arange(100) < 70
    always = 2 * 60 / 160
    assert 2 * 20 / 80 < always < 2 * 60 / 130
    assert borne_out(np.array([strict, chance, right]), fires).tolist() == [False, False, True]
    assert borne_out(np.array([chance, strict]), fires).tolist() == [False, True]
    assert not borne_out(np.array([chance, ~fires]), fires).any()


def _table(fires, said):
    return [[(fires & said).sum(), (fires & ~said).sum()], [(~fires & said).sum(), (~fires & ~said).sum()]]
