"""What a column is taken for, and what it is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.errors import InputError
from saywell.studies.hypotheses.targets import outcomes_of


def outcomes(values, kind=None, name="y"):
    return outcomes_of(pl.Series(name, values, strict=False), kind)


@pytest.mark.parametrize(
    ("values", "kind", "name", "unit"),
    [
        ([0.0, 1.0], "binary", "y", ""),
        ([1.0, 5.0], "binary", "y=5", ""),
        (["a", "b"], "binary", "y=a", ""),
        (["no", "yes"], "binary", "y=yes", ""),
        (["clickbait", "not clickbait"], "binary", "y=clickbait", ""),
        (["control", "drug"], "binary", "y=drug", ""),
        ([1.0, 2.0, 5.0], "ordinal", "y", "y"),
        ([float(i) for i in range(11)], "ordinal", "y", "y"),
        ([i / 2 for i in range(1, 11)], "ordinal", "y", "y"),
        ([-1.0, 0.0, 1.0], "ordinal", "y", "y"),
        ([0.0, 3.0, 1200.0], "count", "y", "y"),
        ([float(i) for i in range(12)], "count", "y", "y"),
        ([float(i) for i in range(1990, 2020)], "real", "y", "y"),
        ([0.1, 0.7, 3.0], "real", "y", "y"),
        ([-5.0, 3.0, 1200.0], "real", "y", "y"),
    ],
)
def test_the_values_tell_what_kind_they_are(values, kind, name, unit):
    (outcome,), notes = outcomes(values * 30)
    assert (outcome.kind, outcome.name, outcome.unit) == (kind, name, unit)
    assert bool(notes) == (values != [0, 1])


def test_what_is_not_known_stays_unknown():
    (outcome,), _ = outcomes([1.0, None, 0.0] * 20)
    np.testing.assert_array_equal(outcome.values[:3], [1, np.nan, 0])
    (outcome,), _ = outcomes(["b", None, "a"] * 20)
    np.testing.assert_array_equal(outcome.values[:3], [0, np.nan, 1])


def test_of_names_each_is_explained_and_at_most_twenty():
    values = [f"v{i:02}" for i in range(25) for _ in range(30 - i)]
    found, notes = outcomes(values)
    assert [outcome.name for outcome in found] == [f"y=v{i:02}" for i in range(20)]
    assert all(outcome.kind == "binary" for outcome in found)
    assert "20 commonest of the 25 values" in notes[0]


def test_a_kind_can_be_asked_for():
    assert len(outcomes([1.0, 2.0, 3.0] * 5, "real")[0]) == 1
    assert outcomes([1.0, 2.0, 3.0] * 5, "real")[0][0].kind == "real"
    assert [o.name for o in outcomes(["1", "2", "3"] * 5, "nominal")[0]] == ["y=1", "y=2", "y=3"]


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["a", "a"], None, "'a' for all 2"),
        ([3.0, None], None, "3 for all 1"),
        ([None, None], None, "no value at all"),
        ([1.0, 2.0, 3.0], "binary", "two values are needed"),
        (["bad", "fine", "good"], "ordinal", "numbers are needed in that order"),
        (["bad", "good"], "real", "numbers are needed"),
        ([1.0, 2.5, 9.0], "count", "whole numbers from 0 up"),
        ([-1.0, 2.0, 9.0], "count", "whole numbers from 0 up"),
        ([f"text {i}" for i in range(40)], None, "40 different values in 40 rows"),
    ],
)
def test_a_column_with_nothing_to_explain_or_of_another_kind_is_refused(values, kind, said):
    with pytest.raises(InputError, match=said):
        outcomes(values, kind)


def test_one_in_ten_thousand_is_said_to_be_few():
    (outcome,), notes = outcomes([1.0] + [0.0] * 9999)
    assert outcome.values.sum() == 1
    assert "'y' is 1 of 1 of 10,000 alone" in notes[-1]
