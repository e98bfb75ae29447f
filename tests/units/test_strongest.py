"""Streaming top-m against a plain stable sort."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.units.strongest import TopExamples


def plain(values: np.ndarray, m: int) -> np.ndarray:
    """Per unit the m strongest examples, ties to the earlier one, by a full sort."""
    return np.argsort(-values, axis=0, kind="stable")[:m].T


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    examples=st.integers(1, 300),
    units=st.integers(1, 7),
    m=st.integers(1, 12),
    distinct=st.sampled_from([1, 2, 5, 1000]),
    sign=st.sampled_from([1, -1]),
    offset=st.sampled_from([0.0, 1.0, -7e5]),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_streaming_equals_sorting(seed, examples, units, m, distinct, sign, offset, cuts):
    random = np.random.default_rng(seed)
    # Neighbours that half precision would not tell apart, beyond its range.
    steps = random.integers(0, distinct, (examples, units)) - distinct // 2
    values = (offset + np.spacing(np.float32(offset)) * steps).astype(np.float32)
    positions = random.integers(0, 50, (examples, units)).astype(np.int16)
    top = TopExamples(units, m)
    edges = sorted({0, examples, *(c for c in cuts if c < examples)})
    for start, stop in pairwise(edges):
        top.add(torch.tensor(values[start:stop]), torch.tensor(positions[start:stop]), start, sign=sign)
    result = top.result()
    values = sign * values
    expected = plain(values, m)
    kept = expected.shape[1]
    assert np.array_equal(result.examples[:, :kept].numpy(), expected)
    columns = np.arange(units)[:, None]
    assert np.array_equal(result.values[:, :kept].numpy(), values.T[columns, expected])
    assert np.array_equal(result.positions[:, :kept].numpy(), positions.T[columns, expected])
    assert (result.examples[:, kept:] == -1).all()


def test_many_ties_in_a_large_chunk_keep_the_earliest():
    values = torch.zeros(5000, 3)
    values[4000, 1] = 1.0
    values[:2000] *= -1  # -0 and 0 are equal
    top = TopExamples(3, 4)
    top.add(values, torch.zeros(5000, 3, dtype=torch.int16), 0)
    assert top.result().examples.tolist() == [[0, 1, 2, 3], [4000, 0, 1, 2], [0, 1, 2, 3]]


def test_restore_goes_on_where_it_was():
    values = torch.randn(400, 5, generator=torch.Generator().manual_seed(1))
    places = torch.zeros(400, 5, dtype=torch.int16)
    whole, first, second = (TopExamples(5, 10) for _ in range(3))
    whole.add(values, places, 0)
    first.add(values[:150], places[:150], 0)
    second.restore(first.result())
    second.add(values[150:], places[150:], 150)
    assert torch.equal(whole.result().examples, second.result().examples)


def test_more_rows_than_fit_one_chunk():
    values = torch.zeros(70_000, 1)
    values[[69_000, 33_000, 100]] = torch.tensor([[3.0], [2.0], [2.0]])
    top = TopExamples(1, 4)
    top.add(values, torch.zeros(70_000, 1, dtype=torch.int16), 0)
    assert top.result().examples.tolist() == [[69_000, 100, 33_000, 0]]
