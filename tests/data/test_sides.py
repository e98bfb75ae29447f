"""Which text of a pair is favoured, in the words that people have for it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.data.sides import first_favoured
from saywell.errors import InputError

COLUMNS = ("answer_x", "answer_y")


def favoured(values, first=None, columns=COLUMNS):
    said, tied, _ = first_favoured(pl.Series("best", values, dtype=pl.String), columns, first)
    return ["?" if np.isnan(value) else int(value) for value in said], tied


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("first", "second"),
        ("A", "B"),
        ("1", "2"),
        ("1.0", "2.0"),
        (" Left", "right"),
        ("true", "false"),
        ("model_a", "model_b"),
        ("Response 1", "Response 2"),
        ("answer_x", "answer_y"),
        ("Answer X", "answer-y"),
        ("Headline 1 has more clicks than Headline 2.", "Headline 2 has more clicks than Headline 1."),
        ("the first tweet", "the second tweet"),
    ],
)
def test_values_that_say_which_is_meant_are_understood_in_any_order(one, other):
    assert favoured([one, other, None, other]) == ([1, 0, "?", 0], 0)
    assert favoured([other, other]) == ([0, 0], 0)


@pytest.mark.parametrize("tie", ["tie", "Tie (bothbad)", "both", "equal", "neither", "No preference", "same"])
def test_a_tie_favours_neither_and_is_counted(tie):
    assert favoured(["a", tie, "b", tie]) == ([1, "?", 0, "?"], 2)


@pytest.mark.parametrize(
    "values",
    [
        ["0", "1"],
        ["win", "loss"],
        ["yes", "no"],
        ["1", "a"],
        ["a", "b", "c"],
        ["A loses", "B loses"],
        ["Headline 1 has fewer clicks than Headline 2", "Headline 2 has fewer clicks than Headline 1"],
        ["A is better", "B won"],
        ["-1", "1"],
        ["the first one", "the second one"],
        ["1 beats 1", "2 beats 2"],
    ],
)
def test_values_that_could_mean_either_are_refused_with_what_to_say(values):
    with pytest.raises(InputError, match=r"not clear which value of 'best'.*--first VALUE"):
        favoured(values)


@pytest.mark.parametrize(
    ("values", "first", "expected"),
    [
        (["0", "1", "1"], "0", [1, 0, 0]),
        (["0", "1", "1"], "1", [0, 1, 1]),
        (["Won", "lost", "tie"], "won", [1, 0, "?"]),
        (["-1", "0", "1"], "1", [0, "?", 1]),
        (["0.5", "1", "0"], "0", ["?", 0, 1]),
        (["b", "a"], "b", [1, 0]),
        (["win", "win"], "win", [1, 1]),
    ],
)
def test_the_value_for_the_first_can_be_named(values, first, expected):
    assert favoured(values, first)[0] == expected


def test_a_name_that_is_not_there_or_leaves_several_others_is_refused():
    with pytest.raises(InputError, match=r"first='x' \(--first\) is not in 'best', which holds 'a', 'b'"):
        favoured(["a", "b"], "x")
    with pytest.raises(InputError, match="--kind real"):
        favoured(["1", "2", "3", "4"], "1")
