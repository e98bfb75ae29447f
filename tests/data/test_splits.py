"""Splits follow from content alone."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.parts import PARTS
from saywell.data.splits import assign_parts, check_parts, content_ids, hash_numbers
from saywell.errors import InputError

IDS = content_ids(f"text {i}" for i in range(20_000))


def test_an_id_is_the_start_of_the_blake2b_hash():
    assert content_ids(["né"]) == [hashlib.blake2b("né".encode()).hexdigest()[:16]]


@given(st.permutations(IDS[:50]), st.integers(), st.integers(0, 50))
def test_a_split_depends_on_the_id_alone(ids, seed, count):
    alone = dict(zip(IDS[:50], assign_parts(IDS[:50], seed), strict=True))
    assert assign_parts(ids[:count], seed).to_list() == [alone[i] for i in ids[:count]]


def test_split_sizes_are_binomial_about_the_fractions():
    for fractions in [(0.4, 0.3, 0.3), (0.8, 0.1, 0.1), (0.05, 0.05, 0.9)]:
        split = assign_parts(IDS, 3, fractions)
        for name, share in zip(PARTS, fractions, strict=True):
            deviation = np.sqrt(share * (1 - share) * len(IDS))
            assert abs((split == name).sum() - share * len(IDS)) < 4 * deviation


def test_another_seed_is_another_split():
    same = (assign_parts(IDS, 0) == assign_parts(IDS, 1)).mean()
    assert same == pytest.approx(0.4**2 + 2 * 0.3**2, abs=0.02)


def test_a_wider_describe_split_only_gains():
    narrow = assign_parts(IDS, 0, (0.4, 0.3, 0.3)) == "describe"
    wide = assign_parts(IDS, 0, (0.5, 0.2, 0.3)) == "describe"
    assert (wide | ~narrow).all()


def test_a_sample_is_independent_of_the_split():
    sampled = hash_numbers(IDS, 0, "limit") < np.uint64(2**63)
    describe = (assign_parts(IDS, 0) == "describe").to_numpy()
    assert describe[sampled].mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5), (0.5, 0.5, 0.0), (0.4, 0.3, 0.4), (1.2, -0.1, -0.1), "abc", (float("nan"),) * 3]
)
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(InputError, match="fractions="):
        assign_parts(IDS[:3], 0, fractions)


def test_no_ids_no_splits():
    assert assign_parts([]).to_list() == []


def test_an_empty_split_is_an_error_with_the_counts():
    check_parts(pl.Series(PARTS), 0)
    with pytest.raises(InputError, match=r"describe 1, select 0, score 1; seed=7"):
        check_parts(pl.Series(["describe", "score"]), 7)
