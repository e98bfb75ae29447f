"""Covariates as columns of numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.covariates import KNOTS, covariate_columns, length_columns, log_words
from saywell.data.words import words
from saywell.errors import InputError


def test_numbers_are_in_standard_units_of_those_that_are_known():
    values, names, notes = covariate_columns({"age": [pl.Series([10.0, 20.0, 30.0, None])]}, 4)
    assert names == ("age",) and not notes
    np.testing.assert_allclose(values[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5), 0])


def test_words_are_a_column_a_level_but_the_commonest_and_rare_ones_are_joined():
    shop = pl.Series(["a"] * 9 + ["b"] * 6 + ["c"] * 2 + ["d", None])
    values, names, notes = covariate_columns({"shop": [shop]}, len(shop))
    assert names == ("shop=b", "shop=other")
    assert values.sum(axis=0).tolist() == [6, 3] and values[-1].tolist() == [0, 0]
    assert "2 values of the covariate 'shop', of fewer than 5 each, were joined as 'other'" in notes[0]


def test_of_pairs_the_difference_counts_and_changes_its_sign_with_the_sides():
    draw = np.random.default_rng(0)
    sides = [pl.Series(draw.choice(["x", "y", "z"], 60).tolist()) for _ in range(2)]
    numbers = [pl.Series(draw.normal(size=60)) for _ in range(2)]
    one, names, _ = covariate_columns({"model": sides, "price": numbers}, 60)
    other, again, _ = covariate_columns({"model": sides[::-1], "price": numbers[::-1]}, 60)
    assert names == again and len(names) == 3
    np.testing.assert_array_equal(one[:, :2], -other[:, :2])
    np.testing.assert_allclose(one[:, 2] + other[:, 2], (one[:, 2] + other[:, 2])[0])
    assert one[(sides[0] == sides[1]).to_numpy()][:, :2].any() == np.False_


def test_what_is_the_same_everywhere_is_no_column():
    given_ = {"x": [pl.Series([1.0, 1.0])], "y": [pl.Series(["a", "a"])], "z": [pl.Series([None, 2.0])]}
    values, names, notes = covariate_columns(given_, 2)
    assert values.shape == (2, 0) and not names
    assert [note.split("'")[1] for note in notes if "changes nothing" in note] == ["x", "y", "z"]
    assert covariate_columns({}, 3)[0].shape == (3, 0)


def test_more_levels_than_can_be_held_equal_are_refused():
    names = pl.Series([f"author {i % 51}" for i in range(51 * 5)])
    with pytest.raises(InputError, match=r"'author' has 51 different values.*--group"):
        covariate_columns({"author": [names]}, len(names))


PIECE = st.sampled_from(
    [
        "it's",
        "I’m",
        "née",
        "10,000",
        "x2y",
        "👍🏽",
        "我们都很好",
        "-",
        "U.S.",
        "'tis",
        "ƒ",
        "don’t’s",
        "A",
        "_a_b",
    ]
)


@given(st.lists(PIECE, max_size=6).map(" ".join))
def test_the_length_is_that_of_the_words(text):
    assert log_words(pl.Series([text]))[0] == pytest.approx(np.log1p(len(words(text))))


def test_bends_of_length_hold_any_smooth_curve_equal_and_are_a_line_beyond_the_outer_knots():
    texts = pl.Series(["word " * n for n in range(1, 401)])
    columns = np.array([column.to_numpy() for column in length_columns(texts)])
    line = columns[0]
    np.testing.assert_allclose(line, log_words(texts).to_numpy())
    design = np.vstack([np.ones(400), columns]).T
    for curve in (np.exp(line), line**2, np.sqrt(np.exp(line))):
        left = curve - design @ np.linalg.lstsq(design, curve, rcond=None)[0]
        straight = np.polyval(np.polyfit(line, curve, 1), line)
        assert left.var() < 0.15 * (curve - straight).var()
    beyond = line > np.quantile(line, KNOTS[-1])
    for bend in columns[1:]:
        np.testing.assert_allclose(
            bend[beyond], np.polyval(np.polyfit(line[beyond], bend[beyond], 1), line[beyond])
        )
    assert len(length_columns(pl.Series(["one two"] * 30))) == 1
