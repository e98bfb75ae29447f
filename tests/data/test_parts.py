"""Examples that serve one purpose serve no other."""

from __future__ import annotations

import polars as pl
import pytest

from saywell.data.parts import DescribeRows, ScoreRows, SelectRows, parts_of, require
from saywell.errors import LeakError


def table(**columns):
    return pl.DataFrame(columns)


def test_every_example_is_in_one_part():
    split = ["score", "describe", "select", "describe", "score"]
    parts = parts_of(table(id=list("abcde"), part=split))
    assert [rows.rows.tolist() for rows in parts] == [[1, 3], [2], [0, 4]]
    assert [type(rows) for rows in parts] == [DescribeRows, SelectRows, ScoreRows]


def test_all_studies_call_their_splits_something_known():
    parts = parts_of(table(id=list("abcd"), part=["describe", "select", "select", "score"]))
    assert [len(rows) for rows in parts] == [1, 2, 1]
    with pytest.raises(LeakError, match="'dev'"):
        parts_of(table(id=["a"], part=["dev"]))


def test_an_id_or_a_group_in_two_parts_is_a_leak():
    with pytest.raises(LeakError, match="id 'a' is in describe and score"):
        parts_of(table(id=["a", "b", "a"], part=["describe", "select", "score"]))
    with pytest.raises(LeakError, match="group 'g' is in describe and select"):
        parts_of(table(id=list("abc"), part=["describe", "select", "score"], group=["g", "g", "h"]))
    parts_of(table(id=list("abc"), part=["describe", "select", "score"], group=["g", None, None]))


def test_rows_of_another_part_are_refused():
    parts = parts_of(table(id=list("abc"), part=["describe", "select", "score"]))
    assert require(ScoreRows, parts.score) is parts.score
    for wrong in (parts.describe, parts.select):
        with pytest.raises(LeakError, match="ScoreRows belong"):
            require(ScoreRows, wrong)
