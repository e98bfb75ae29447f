"""What goes with planted stars is found, and what is reversed among shops where the shop is held equal."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.studies.planted import STARS, find_planted_hypotheses, planted_found, planted_stars

REVERSED = list(STARS)[-1]


class Letters:
    """A sentence encoder that counts letters."""

    name = "letters"

    def __call__(self, texts):
        counts = np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
        return (counts / np.linalg.norm(counts + 1e-9, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def find(tmp_path):
    def run(*covariates: str):
        options = {"limit": 700, "encoder": Letters(), "candidates": ["claims"], "shuffles": 2}
        return find_planted_hypotheses(tmp_path / "study", covariate=list(covariates), **options)

    return run


def test_all_that_was_planted_is_found_with_the_shop_held_equal(find):
    study = find("length", "shop")
    found = planted_found(study)
    assert found["effect"].to_list() == list(STARS.values())
    assert found["f1"].min() == 1.0
    tested = found.join(study.table("hypotheses"), on="hypothesis", suffix="_found", maintain_order="left")
    assert (tested["effect"] * tested["effect_found"]).min() > 0
    last = tested.row(-1, named=True)
    assert last["effect_found"] > 0.5 and last["effect_alone"] < 0
    assert "though" in study.unit(last["unit"]).hypothesis.sentence


def test_what_is_reversed_among_shops_is_not_found_without_them(find):
    own = find("length").table("hypotheses").filter(claim=REVERSED)
    assert own.filter(pl.col("status") == "verified", pl.col("effect") > 0).is_empty()


def test_planted_stars_are_the_same_each_time():
    one, again = planted_stars(200), planted_stars(200)
    assert one.equals(again)
    assert set(one["stars"]) == {1, 2, 3, 4, 5}
