from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saywell.scorers.floors import another_unit, most_frequent, nearest_sibling

texts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=12)


@given(texts, st.integers(0, 99))
def test_floors_never_say_what_the_unit_says_itself(descriptions, seed):
    units = [f"u{n}" for n in range(len(descriptions))]
    vectors = np.random.default_rng(seed).normal(size=(len(units), 3)).astype(np.float32)
    for chosen in (
        another_unit(descriptions, units, seed=seed),
        nearest_sibling(descriptions, vectors),
        most_frequent(descriptions),
    ):
        if len(set(descriptions)) == 1:
            assert (chosen == -1).all()
            continue
        assert all(
            descriptions[other] != own
            for own, other in zip(descriptions, chosen, strict=True)
        )  # fmt: skip
        assert (chosen >= 0).all()


@given(texts, st.randoms(use_true_random=False))
def test_another_unit_depends_on_no_order(descriptions, random):
    units = [f"u{n}" for n in range(len(descriptions))]
    order = list(range(len(units)))
    random.shuffle(order)
    first = another_unit(descriptions, units, seed=0)
    other = another_unit([descriptions[n] for n in order], [units[n] for n in order], seed=0)
    named = {units[n]: units[first[n]] if first[n] >= 0 else None for n in order}
    for place, n in enumerate(order):
        found = units[order[other[place]]] if other[place] >= 0 else None
        assert found == named[units[n]]


def test_another_unit_follows_the_seed_and_spreads():
    units = [f"u{n}" for n in range(300)]
    one, two = (another_unit(units, units, seed=seed) for seed in (0, 1))
    assert (one != two).mean() > 0.9 and len(set(one)) == 300


def test_nearest_sibling_as_a_plain_loop(monkeypatch):
    monkeypatch.setattr("saywell.scorers.floors._BLOCK", 7)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 5))
    descriptions = [str(n % 15) for n in range(40)]
    found = nearest_sibling(descriptions, vectors)
    for unit in range(40):
        others = [n for n in range(40) if descriptions[n] != descriptions[unit]]
        cosines = [
            vectors[n] @ vectors[unit] / np.linalg.norm(vectors[n]) for n in others
        ]  # fmt: skip
        assert found[unit] == others[int(np.argmax(cosines))]


def test_most_frequent_by_hand():
    assert most_frequent(["x", "y", "x", "z", "y", "x"]).tolist() == [1, 0, 1, 0, 0, 1]
    assert most_frequent(["b", "a"]).tolist() == [1, 0]
    assert most_frequent([]).tolist() == []


def test_units_that_name_a_part_in_common_are_no_siblings():
    vectors = np.array([[1.0, 0.0], [0.99, 0.1], [0.8, 0.6], [0.0, 1.0]])
    texts = ["soup, waiter", "soup", "room", "bed"]
    named = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
    assert nearest_sibling(texts, vectors).tolist() == [1, 0, 1, 2]
    assert nearest_sibling(texts, vectors, named).tolist() == [2, 2, 1, 2]
