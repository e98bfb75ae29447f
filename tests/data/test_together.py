"""What belongs together is in one part, and parts are about as large as asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.parts import PARTS
from saywell.data.splits import assign_parts, content_ids
from saywell.data.together import components, parts_together, parts_told, same_value, shares_of, without_leaks
from saywell.errors import InputError

FRACTIONS = (0.25, 0.25, 0.5)
ALL = shares_of(PARTS, FRACTIONS)
LINK = st.tuples(st.integers(0, 11), st.integers(0, 11))


@given(st.lists(LINK, max_size=15), st.lists(LINK, max_size=5))
def test_components_are_those_of_a_plain_search(one, other):
    links = [
        tuple(np.array(ends, dtype=int) for ends in zip(*link, strict=True)) for link in (one, other) if link
    ]
    expected = list(range(12))
    for left, right in (*one, *other) * 12:  # as often as the longest chain needs
        expected[left] = expected[right] = min(expected[left], expected[right])
    assert components(12, *links).tolist() == expected


def test_members_with_the_same_value_are_linked_and_those_without_one_are_not():
    left, right = same_value(pl.Series(["x", None, "y", "x", None]), np.array([4, 3, 2, 1, 0]))
    assert components(5, (left, right)).tolist() == [0, 1, 2, 3, 1]


def test_many_small_groups_are_dealt_by_their_hashes_alone():
    leaders = pl.Series(content_ids(map(str, range(2000))))
    parts = parts_together(leaders, np.ones(2000, int), 3, ALL)
    assert parts.tolist() == assign_parts(leaders, 3, FRACTIONS).to_list()


@pytest.mark.parametrize(
    "sizes", [[1, 1, 1], [90, 5, 5], [50, 30, 20], [34, 33, 33], [60, 20, 20], [1] * 10, [400, *[1] * 100]]
)
@pytest.mark.parametrize("seed", range(5))
def test_few_groups_and_a_large_one_leave_no_part_empty(sizes, seed):
    leaders = pl.Series(content_ids(map(str, range(len(sizes)))))
    parts = parts_together(leaders, np.array(sizes), seed, ALL)
    assert set(parts) == set(PARTS)
    if len(sizes) > 100:
        assert (parts == "describe").sum() == 1 and 16 < (parts == "select").sum() < 50


def test_one_group_cannot_be_shared_out():
    with pytest.raises(InputError, match=r"hangs together in 2 groups.*--split"):
        parts_together(pl.Series(["a", "b"]), np.array([5, 5]), 0, ALL)


ROW = st.tuples(st.sampled_from(PARTS), st.integers(0, 5), st.integers(0, 5))


@given(st.lists(ROW, min_size=1, max_size=12))
def test_no_family_is_left_in_two_parts_and_none_is_left_out_without_need(rows):
    parts, *families = (np.array(column) for column in zip(*rows, strict=True))
    kept = without_leaks(pl.Series(parts), families)
    places = {
        part: {int(f[row]) for f in families for row in np.flatnonzero(kept & (parts == part))}
        for part in PARTS
    }
    assert kept[parts == "score"].all()
    assert (
        not places["score"] & places["select"]
        and not (places["score"] | places["select"]) & places["describe"]
    )
    for row in np.flatnonzero(~kept):
        better = PARTS[PARTS.index(parts[row]) + 1 :]
        assert any(int(f[row]) in places[part] for f in families for part in better)


def test_the_words_of_a_split_are_its_parts():
    parts, said = parts_told(pl.Series(["Train ", "test", None, "dev"]), "fold")
    assert parts.to_list() == ["describe", "score", None, "select"] and said == list(PARTS)
    with pytest.raises(InputError, match=r"'fold' \(--split\) holds 'ood'; splits are called train"):
        parts_told(pl.Series(["train", "ood"]), "fold")
    with pytest.raises(InputError, match="no row has train"):
        parts_told(pl.Series(["test", "val"]), "fold")
