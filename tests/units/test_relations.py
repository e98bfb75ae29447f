"""Near duplicates, and latents that split another, against plain loops and planted ones."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.units.relations import cosines, duplicates, firings, joined, splits, together


def sparse(fires):
    return firings(sp.csr_matrix(np.asarray(fires, dtype=np.float32)))


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_pairs_are_those_of_two_loops(seed, fewest):
    random = np.random.default_rng(seed)
    first, second = (random.random((30, n)) < 0.15 for n in (5, 7))
    pairs = joined(together(sparse(first), sparse(second), fewest=fewest))
    found = {(int(a), int(b)): tuple(map(int, rest)) for a, b, *rest in zip(*pairs, strict=True)}
    looped = {}
    for a, b in itertools.product(range(5), range(7)):
        one, other = set(np.flatnonzero(first[:, a])), set(np.flatnonzero(second[:, b]))
        if len(one) >= fewest and len(other) >= fewest and one & other:
            looped[a, b] = (len(one), len(other), len(one & other))
    assert found == looped
    indices = [both / (one + other - both) for one, other, both in looped.values()]
    assert sorted(pairs.jaccard) == pytest.approx(sorted(indices))


def test_activations_below_nothing_do_not_fire():
    assert firings(sp.csr_matrix([[-1.0, 0.0, 2.0]])).toarray().tolist() == [[0, 0, 1]]


@pytest.fixture(scope="module")
def planted():
    """Latents by chance; 40 repeats 3, 41 fires with 4 and points elsewhere, 42 points like 5, fires apart."""
    random = np.random.default_rng(1)
    fires, decoder = random.random((4000, 43)) < 0.02, random.standard_normal((43, 32)).astype(np.float32)
    fires[:, 40] = fires[:, 3] & (random.random(4000) < 0.9)
    fires[:, 41] = fires[:, 4]
    decoder[40] = decoder[3] * 2 + 0.5 * random.standard_normal(32)
    decoder[42] = decoder[5]
    return fires, decoder


def test_duplicates_fire_together_and_point_the_same_way(planted):
    found = duplicates(sparse(planted[0]), planted[1], seed=0)
    assert (found.pairs.first.tolist(), found.pairs.second.tolist()) == ([3], [40])
    assert found.pairs.jaccard[0] == pytest.approx(0.9, abs=0.06)
    assert found.cosine[0] > 0.9
    assert 0 < found.chance_jaccard < 0.2
    assert 0.6 < found.chance_cosine < 1


def test_directions_that_are_all_alike_tell_nothing(planted):
    """Then the cosine of any two is what it is by chance."""
    fires, decoder = planted
    alike = decoder * 0.1 + 5
    assert cosines(alike, alike, np.array([3]), np.array([40]))[0] > 0.9
    assert duplicates(sparse(fires), alike, seed=0).chance_cosine > 0.99
    # what is left is the pair that is nearer than chance
    assert len(duplicates(sparse(fires), np.ones_like(decoder), seed=0).cosine) == 0


def test_latents_seldom_seen_are_left_out(planted):
    fires, decoder = planted
    few = fires & (np.arange(len(fires)) < 150)[:, None]
    assert len(duplicates(sparse(few), decoder, seed=0).cosine) == 0


def halves(tokens=1000, *, share=(0.5, 0.5), outside=0.0, overlap=0.0, seed=0):
    """A whole at 200 tokens and parts of it."""
    random = np.random.default_rng(seed)
    at = random.permutation(tokens)
    whole = np.zeros((tokens, 1), dtype=bool)
    whole[at[:200]] = True
    parts, start = np.zeros((tokens, len(share)), dtype=bool), 0
    for number, size in enumerate(share):
        stop = start + round(200 * size)
        first = max(0, start - round(overlap * (stop - start)))
        parts[at[first:stop], number] = True
        parts[at[300 : 300 + round(outside * (stop - first))], number] = True
        start = stop
    return whole, parts


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        ({}, [0, 1]),
        ({"share": (0.3, 0.6)}, [1, 0]),
        ({"share": (0.3, 0.6), "outside": 0.1}, [1, 0]),
        ({"share": (0.3, 0.3)}, None),  # too much is left
        ({"share": (1.0,)}, None),  # the same, not a part
        ({"outside": 0.5}, None),  # fire elsewhere as much
        ({"overlap": 0.5}, None),  # fire together
        ({"share": (0.4, 0.4, 0.02)}, [0, 1]),  # what is too small adds nothing
    ],
)
def test_parts_lie_inside_apart_and_cover(made, parts):
    whole, children = halves(**made)
    found = splits(sparse(whole), sparse(children))
    if parts is None:
        assert found == []
        return
    (split,) = found
    assert split.parts.tolist() == parts
    at = whole[:, 0]
    assert split.covers == pytest.approx([children[at, part].mean() for part in parts])
    assert split.inside == pytest.approx([at[children[:, part]].mean() for part in parts])
    assert split.covered == pytest.approx(children[at][:, parts].any(1).mean())


def test_a_latent_that_fires_nearly_everywhere_is_not_split_by_what_happens_to_fire_there():
    random = np.random.default_rng(0)
    whole = random.random((2000, 1)) < 0.9
    parts = random.random((2000, 30)) < 0.1
    assert splits(sparse(whole), sparse(parts)) == []


def test_inside_one_dictionary_nothing_splits_itself():
    whole, parts = halves()
    both = sparse(np.hstack([whole, parts]))
    (split,) = splits(both, both)
    assert (split.whole, split.parts.tolist()) == (0, [1, 2])
