from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.splits import hash_numbers
from saywell.description import Description
from saywell.scorers.floors import (
    CANDIDATES,
    FLOORS,
    Described,
    NearestSibling,
    another_unit,
    most_frequent,
    nearest_sibling,
    reads_alike,
    top_words,
)

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
        others = len(set(descriptions)) - 1
        for own, row in zip(descriptions, chosen.tolist(), strict=True):
            there = min(others, CANDIDATES)
            said = [descriptions[n] for n in row[:there]]
            assert own not in said and len(set(said)) == there
            assert row[there:] == [-1] * (CANDIDATES - there)


@given(texts, st.randoms(use_true_random=False))
def test_another_unit_depends_on_no_order(descriptions, random):
    units = [f"u{n}" for n in range(len(descriptions))]
    order = list(range(len(units)))
    random.shuffle(order)
    first = another_unit(descriptions, units, seed=0)
    other = another_unit([descriptions[n] for n in order], [units[n] for n in order], seed=0)
    for place, n in enumerate(order):
        for one, two in zip(first[n], other[place], strict=True):
            assert (one if one < 0 else units[one]) == (two if two < 0 else units[order[two]])


@given(texts)
def test_another_unit_as_a_walk_round_the_ring(descriptions):
    units = [f"u{n}" for n in range(len(descriptions))]
    ring = np.argsort(hash_numbers(units, 3, "another unit"), kind="stable").tolist()
    for place, unit in enumerate(ring):
        walked: list[int] = []
        for other in ring[place:] + ring[:place]:
            if descriptions[other] not in [descriptions[n] for n in (unit, *walked)]:
                walked.append(other)
        found = another_unit(descriptions, units, seed=3)[unit]
        assert [n for n in found.tolist() if n >= 0] == walked[:CANDIDATES]


def test_another_unit_follows_the_seed_and_spreads():
    units = [f"u{n}" for n in range(300)]
    one, two = (another_unit(units, units, seed=seed)[:, 0] for seed in (0, 1))
    assert (one != two).mean() > 0.9 and len(set(one)) == 300


def test_nearest_sibling_as_a_plain_loop(monkeypatch):
    monkeypatch.setattr("saywell.scorers.floors._BLOCK", 7)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 5))
    descriptions = [str(n % 15) for n in range(40)]
    found = nearest_sibling(descriptions, vectors)
    for unit in range(40):
        others = [n for n in range(40) if descriptions[n] != descriptions[unit]]
        cosines = [vectors[n] @ vectors[unit] / np.linalg.norm(vectors[n]) for n in others]
        first: dict[str, int] = {}
        for n in np.argsort(-np.array(cosines)):
            first.setdefault(descriptions[others[n]], others[n])
        assert found[unit].tolist() == list(first.values())[:CANDIDATES]


def test_most_frequent_by_hand():
    found = most_frequent(["x", "y", "x", "z", "y", "x"], candidates=2)
    assert found.tolist() == [[1, 3], [0, 3], [1, 3], [0, 1], [0, 3], [1, 3]]
    assert most_frequent(["b", "a"], candidates=2).tolist() == [[1, -1], [0, -1]]
    assert most_frequent([]).shape == (0, CANDIDATES)


def test_units_that_name_a_part_in_common_are_no_siblings():
    vectors = np.array([[1.0, 0.0], [0.99, 0.1], [0.8, 0.6], [0.0, 1.0]])
    texts = ["soup, waiter", "soup", "room", "bed"]
    named = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
    assert nearest_sibling(texts, vectors)[:, 0].tolist() == [1, 0, 1, 2]
    found = nearest_sibling(texts, vectors, named)
    assert found[:, 0].tolist() == [2, 2, 1, 2] and found[0].tolist() == [2, 3, -1, -1]


def test_which_of_equally_near_siblings_is_read_does_not_depend_on_the_order_of_units():
    random = np.random.default_rng(0)
    units = [f"u{n}" for n in range(30)]
    profiles = random.integers(0, 2, (30, 4)).astype(float) + 0.1  # many alike
    said = [Description(f"{unit}#0", f"text {n}", parts=(), descriptors=()) for n, unit in enumerate(units)]
    described = Described("d", units, [f"{unit}#0" for unit in units], said, profiles)
    order = random.permutation(30)
    one, two = (NearestSibling().stand_ins(each, 0).whose for each in (described, described.only(order)))
    assert np.array_equal(order[two], one[order])


def test_reading_alike_is_more_than_agreeing():
    fires = np.zeros((1, 100))
    fires[0, :10] = 1
    shifted = np.roll(fires, 2, axis=1)  # 8 of 10 in common: phi 0.78
    assert reads_alike(fires, fires)[0] and reads_alike(fires, shifted)[0]
    assert not reads_alike(fires, np.roll(fires, 5, axis=1))[0]
    # Both say yes of nine in ten: they agree on 80 of 100 examples, by chance.
    assert not reads_alike(1 - fires, np.roll(1 - fires, 10, axis=1))[0]
    assert not reads_alike(np.ones((1, 100)), np.ones((1, 100)))[0]
    assert not reads_alike(fires, 1 - fires)[0]


@given(st.integers(0, 2**31))
def test_reading_alike_is_a_correlation_over_what_both_answered(seed):
    random = np.random.default_rng(seed)
    one, two = (random.random((3, 30)) < 0.5 for _ in range(2))
    one, two = one.astype(np.float32), two.astype(np.float32)
    two[0] = np.where(random.random(30) < 0.9, one[0], two[0])
    one[random.random(one.shape) < 0.1] = np.nan
    expected = []
    for a, b in zip(one, two, strict=True):
        kept = ~np.isnan(a)
        expected.append(np.corrcoef(a[kept], b[kept])[0, 1] >= 0.6)
    assert reads_alike(one, two, at_least=0.6).tolist() == expected


def test_top_words_are_whole_words_strongest_first_without_repeats():
    texts = {"a": "The batteries die", "b": "batteries, again", "c": "Café closed", "d": "..."}
    spans = [
        ("u", 0, "a", 4, 11),
        ("u", 1, "b", 0, 9),
        ("u", 2, "c", 0, 2),
        ("u", 3, "d", 0, 1),
        ("v", 0, "a", 0, 3),
        ("v", 1, "b", None, None),
    ]
    exemplars = pl.DataFrame(
        [(unit, "describe", rank, example, start, end) for unit, rank, example, start, end in spans],
        schema=["unit", "part", "rank", "example", "span_start", "span_end"],
        orient="row",
    )
    examples = pl.DataFrame({"id": list(texts), "text": list(texts.values())})
    assert top_words(exemplars, examples, ["u", "v", "w"]) == ["batteries, café", "the", ""]


def test_distinct_descriptions_keep_their_order_and_every_unit_its_own():
    said = [("b", ("1",)), ("a", ("1", "2")), ("b", ("1",)), ("b", ("3",)), ("c", ())]
    descriptions = [Description(f"u{n}", text, descriptors=ids) for n, (text, ids) in enumerate(said)]
    units = [own.unit for own in descriptions]
    described = Described(
        "x", units, units, descriptions, names=list("vwxyz"), profiles=np.arange(10.0).reshape(5, 2)
    )
    assert [(d.text, d.descriptors) for d in described.distinct] == [said[0], said[1], said[3], said[4]]
    assert described.own.tolist() == [0, 1, 0, 2, 3]
    assert described.named.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    some = described.only(np.array([4, 1]))
    assert some.units == ["u4", "u1"] and some.names == ["z", "w"] and some.words is None
    assert (
        some.texts == ["c", "a"]
        and some.own.tolist() == [0, 1]
        and some.profiles.tolist() == [[8, 9], [2, 3]]
    )


def test_floors_that_bring_words_of_their_own_and_those_that_lack_what_they_need():
    units = ["a", "b"]
    bare = Described("x", units, units, [Description(unit, unit) for unit in units])
    rich = replace(bare, names=["red kite", "gull"], words=["x, y", ""])
    for name, text, parts in (
        ("top words", "x, y", ()),
        ("class name", "red kite", ("it is a red kite", "red kite")),
    ):
        floor = (
            replace(FLOORS[name], templates=("it is a {}", "{}")) if name == "class name" else FLOORS[name]
        )
        found = floor.stand_ins(rich, 0)
        assert found.whose.tolist() == [[2], [3]] and (found.texts[0].text, found.texts[0].parts) == (
            text,
            parts,
        )
        assert floor.stand_ins(bare, 0) is None
    assert FLOORS["nearest sibling"].stand_ins(bare, 0) is None
    assert FLOORS["another unit"].stand_ins(bare, 0).whose[:, 0].tolist() == [1, 0]
