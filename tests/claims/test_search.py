"""Beam search over formulas: against a plain loop, whatever the order, and on planted units."""

from __future__ import annotations

from itertools import chain
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.claims import search as searching
from saywell.claims.search import Atoms, Pointed, search, shrunk_f1
from saywell.errors import InputError


def made(holds, prices=None, groups=None, order=None) -> Atoms:
    everyone = np.arange(len(holds))
    prices = np.ones(len(holds)) if prices is None else prices
    groups = everyone if groups is None else groups
    order = everyone if order is None else order
    return Atoms(sp.csr_matrix(np.asarray(holds, dtype=bool)), prices, groups, order)


def covered(holds, clauses) -> np.ndarray:
    """Of which examples a formula holds, by its definition."""
    return np.any([np.all([holds[a] ^ no for a, no in clause], axis=0) for clause in clauses], axis=0)


def plain(atoms, fires, known, pointed, most, beam):
    """The same search, one formula at a time."""
    holds, fires = atoms.rows.toarray(), fires & known
    at = None if pointed is None else pointed.at.toarray()
    seen, sizes, parents = set(), [], [()]

    def judged(clauses):
        mask = covered(holds, clauses) & known
        hits, said = int((mask & fires).sum()), int(mask.sum())
        share = float("nan")
        if at is not None:
            there = [
                any(
                    all(holds[a, row] != no for a, no in clause)
                    and any(at[a, n] for a, no in clause if not no)
                    for clause in clauses
                )
                for n, row in enumerate(pointed.exemplars)
            ]
            share = sum(there) / len(there)
        return mask, hits, said, share

    while len(sizes) < most and parents:
        ways = []
        for rank, parent in enumerate(parents):
            used = {atoms.groups[a] for clause in parent for a, _ in clause}
            for a in range(len(atoms)):
                if atoms.groups[a] in used:
                    continue
                for nth, (join, clause, new) in enumerate(lengthened(parent, a)):
                    before = judged(parent)[0] if parent else np.zeros(len(fires), dtype=bool)
                    mask, hits, said, share = judged(new)
                    gained = int((mask & fires).sum()) - int((before & fires).sum())
                    fewer = int((before & ~fires).sum()) - int((mask & ~fires).sum())
                    least = max(
                        searching.LEAST, searching.LEAST_SHARE * (int(before.sum()) + int(fires.sum()))
                    )
                    if (gained if join == 0 else fewer) < least:
                        continue
                    if join == 0 and at is not None and not at[a, : searching.STRONGEST].any():
                        continue
                    if join == 1 and hits_of_its_own(holds, known, fires, parent, clause, a) < least:
                        continue
                    cost = sum(atoms.prices[a] for c in new for a, _ in c)
                    pointing = 1.0 if np.isnan(share) else share
                    shrunk = shrunk_f1(np.array(hits), np.array(said), int(fires.sum()), int(known.sum()))
                    score = float(shrunk * (1 + pointing) / 2 - searching.PRICE * cost)
                    key = (-score, cost, atoms.order[a], rank, nth)
                    ways.append((key, new, mask, (hits, said, share, score)))
        parents, kept = [], []
        for _, new, mask, numbers in sorted(ways, key=lambda way: way[0]):
            if len(kept) < beam and mask.tobytes() not in seen:
                seen.add(mask.tobytes())
                parents.append(new)
                kept.append((new, numbers))
        if kept:
            sizes.append(kept[: searching.KEPT])
    return sizes


def lengthened(parent, a):
    yield 0, len(parent), (*parent, ((a, False),))
    for n, clause in enumerate(parent):
        for join, no in ((1, False), (2, True)):
            yield join, n, (*parent[:n], (*clause, (a, no)), *parent[n + 1 :])


def hits_of_its_own(holds, known, fires, parent, clause, a) -> int:
    """What a narrower clause still brings that no other clause has."""
    others = [c for n, c in enumerate(parent) if n != clause]
    apart = ~covered(holds, others) if others else np.ones(len(fires), dtype=bool)
    return int((covered(holds, [parent[clause]]) & apart & known & fires & holds[a]).sum())


@st.composite
def worlds(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number, examples = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    holds = random.random((number, examples)) < random.uniform(0.1, 0.7, (number, 1))
    fires = random.random(examples) < 0.4
    if number > 3 and draw(st.booleans()):
        holds[3] = holds[0]
        fires |= holds[0] & ~holds[1]
    known = random.random(examples) < 0.85
    atoms = made(
        holds, random.integers(1, 4, number) * 0.5, random.integers(0, 7, number), random.permutation(number)
    )
    firing = np.flatnonzero(fires & known)
    pointed = None
    if len(firing) and draw(st.booleans()):
        exemplars = random.permutation(firing)[:8]
        at = holds[:, exemplars] & (random.random((number, len(exemplars))) < 0.6)
        pointed = Pointed(exemplars, sp.csr_matrix(at))
    return atoms, fires, known, pointed


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_finds_what_a_plain_loop_finds(world, beam):
    atoms, fires, known, pointed = world
    with patch.object(searching, "STRONGEST", 3):
        found = search(atoms, fires, known, pointed, most=3, beam=beam)
        expected = plain(atoms, fires, known, pointed, 3, beam)
    assert [len(some) for some in found] == [len(some) for some in expected]
    for mine, theirs in zip(chain(*found), chain(*expected), strict=True):
        clauses, (hits, said, share, score) = theirs
        assert mine.clauses == tuple(tuple(sorted(clause, key=lambda part: part[1])) for clause in clauses)
        assert (mine.hits, mine.said, mine.score) == (hits, said, pytest.approx(score))
        assert mine.pointing == pytest.approx(share, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(worlds(), st.randoms())
def test_the_order_of_atoms_and_examples_decides_nothing(world, chance):
    atoms, fires, known, pointed = world
    a = np.array(chance.sample(range(len(atoms)), len(atoms)))
    e = np.array(chance.sample(range(len(fires)), len(fires)))
    moved = Atoms(sp.csr_matrix(atoms.rows[a][:, e]), atoms.prices[a], atoms.groups[a], atoms.order[a])
    if pointed is not None:
        there = np.argsort(e)[pointed.exemplars]
        pointed_moved = Pointed(there, sp.csr_matrix(pointed.at[a]))
    found = search(atoms, fires, known, pointed, most=3)
    again = search(moved, fires[e], known[e], pointed and pointed_moved, most=3)
    back = [
        [
            one._replace(clauses=tuple(tuple((int(a[n]), no) for n, no in c) for c in one.clauses))
            for one in some
        ]
        for some in again
    ]
    assert str(back) == str(found)


def planted(seed, examples=1500, atoms=300):
    random = np.random.default_rng(seed)
    holds = random.random((atoms, examples)) < random.uniform(0.01, 0.15, (atoms, 1))
    return random, holds


@pytest.mark.parametrize("kind", ["one", "or", "and", "and not"])
def test_finds_a_planted_formula_through_noise(kind):
    random, holds = planted(3)
    holds[:3] = random.random((3, holds.shape[1])) < 0.3
    clauses = {
        "one": [[(0, False)]],
        "or": [[(0, False)], [(1, False)]],
        "and": [[(0, False), (1, False)]],
        "and not": [[(0, False), (1, True)]],
    }[kind]
    true = covered(holds, clauses)
    fires = (true & (random.random(len(true)) < 0.8)) | (random.random(len(true)) < 0.01)
    best = search(made(holds), fires)[sum(map(len, clauses)) - 1][0]
    assert {frozenset(clause) for clause in best.clauses} == {frozenset(clause) for clause in clauses}


def test_few_lucky_hits_do_not_beat_many_sure_ones():
    holds = np.zeros((2, 1000), dtype=bool)
    fires = np.zeros(1000, dtype=bool)
    fires[:6] = True
    holds[0, [0, 1, 6]] = True
    holds[1, :5] = holds[1, 900:904] = True
    assert search(made(holds), fires)[0][0].clauses == (((1, False),),)


def test_of_two_that_hold_of_the_same_the_one_that_points_is_taken_then_the_cheaper_then_the_earlier():
    holds = np.zeros((3, 40), dtype=bool)
    holds[:, :10] = True
    fires = holds[0]
    assert search(made(holds), fires)[0][0].clauses == (((0, False),),)
    assert search(made(holds, prices=np.array([3.0, 2.0, 2.0])), fires)[0][0].clauses == (((1, False),),)
    at = sp.csr_matrix(np.array([[1, 0], [0, 0], [1, 1]], dtype=bool))
    pointed = Pointed(np.array([4, 2]), at)
    best = search(made(holds), fires, None, pointed)[0]
    assert (best[0].clauses, best[0].pointing, len(best)) == ((((2, False),),), 1.0, 1)


def test_variants_of_one_another_are_not_joined():
    _, holds = planted(5)
    fires = holds[0] | holds[1]
    apart = search(made(holds), fires)[1][0]
    assert {a for clause in apart.clauses for a, _ in clause} == {0, 1}
    joined = search(made(holds, groups=np.array([0, 0, *range(1, 299)])), fires)
    assert not any({0, 1} <= {a for c in one.clauses for a, _ in c} for some in joined for one in some)


def test_examples_without_a_response_are_left_out():
    _, holds = planted(7)
    fires = holds[0].copy()
    known = np.arange(holds.shape[1]) % 3 > 0
    found = search(made(holds), fires, known)
    assert (found[0][0].hits, found[0][0].said, found[0][0].f1) == (*[(fires & known).sum()] * 2, 1.0)
    fires[~known] = ~fires[~known]
    assert str(search(made(holds), fires, known)) == str(found)


def test_other_units_searched_before_decide_nothing():
    random, holds = planted(9)
    units = [holds[n] | (random.random(holds.shape[1]) < 0.02) for n in range(4)]
    known = random.random(holds.shape[1]) < 0.8
    together, alone = made(holds), [str(search(made(holds), unit, known)) for unit in units]
    assert [str(search(together, unit, known)) for unit in units] == alone
    assert [str(search(together, unit, known)) for unit in units[::-1]] == alone[::-1]


def test_what_never_fires_has_no_formula():
    _, holds = planted(8)
    assert search(made(holds), np.zeros(holds.shape[1], dtype=bool)) == []


def test_wrong_shapes_are_said():
    holds = np.ones((3, 10), dtype=bool)
    with pytest.raises(InputError, match=r"fires has shape \(9,\).* 10 examples"):
        search(made(holds), np.ones(9, dtype=bool))
    with pytest.raises(InputError, match="prices of 2 atoms, and there are 3"):
        made(holds, prices=np.ones(2))
    with pytest.raises(InputError, match="same place"):
        made(holds, order=np.array([0, 1, 1]))
    stored = sp.csr_matrix(holds)
    stored.data[2] = False
    with pytest.raises(InputError, match="stores what is False"):
        Atoms(stored, *[np.arange(3)] * 3)
    twice = sp.csr_matrix((np.ones(2, dtype=bool), [0, 0], [0, 2]), shape=(1, 1))
    with pytest.raises(InputError, match="or twice"):
        Atoms(twice, *[np.arange(1)] * 3)
    many = Pointed(np.arange(65), sp.csr_matrix((3, 65), dtype=bool))
    with pytest.raises(InputError, match="65 exemplars; give the 64 strongest"):
        search(made(holds), np.ones(10, dtype=bool), None, many)


def test_f1_is_shrunk_as_if_a_few_examples_more_had_been_like_all():
    hits, said, fired, examples = np.array([3, 80]), np.array([3, 100]), 100, 1000
    precision = (hits + 0.1 * searching.PRIOR) / (said + searching.PRIOR)
    recall = (hits + said / examples * searching.PRIOR) / (fired + searching.PRIOR)
    expected = 2 / (1 / precision + 1 / recall)
    assert shrunk_f1(hits, said, fired, examples) == pytest.approx(expected)
    assert (expected < 2 * hits / (said + fired)).all()
