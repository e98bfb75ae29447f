"""TopK dictionaries against plain loops and a dense model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.errors import InputError
from saywell.units.dictionaries import rules
from saywell.units.dictionaries.active import strongest
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.topk import exact_codes


def some_dictionary(seed: int, latents: int, width: int, k: int, signed: bool) -> Dictionary:
    random = np.random.default_rng(seed)
    sizes = (latents, width), latents, (latents, width), width
    parts = [torch.from_numpy(random.standard_normal(size).astype(np.float32)) for size in sizes]
    return Dictionary(*parts, rules.TopK(k, signed))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(0, 9),
    latents=st.integers(1, 12),
    signed=st.booleans(),
    data=st.data(),
)
def test_encoding_equals_a_loop(seed, rows, latents, signed, data):
    k = data.draw(st.integers(1, latents))
    dictionary = some_dictionary(seed, latents, 5, k, signed)
    vectors = np.random.default_rng(seed + 1).standard_normal((rows, 5)).astype(np.float32)
    found = exact_codes(dictionary, vectors)
    assert found.shape == (rows, latents)
    assert found.dtype == np.float32
    for row, vector in enumerate(vectors):
        before = [
            float(np.dot(e.astype(float), vector - dictionary.centre.numpy()) + b)
            for e, b in zip(dictionary.encoder.numpy(), dictionary.bias.numpy(), strict=True)
        ]
        kept = sorted(range(latents), key=lambda i: -abs(before[i]) if signed else -before[i])[:k]
        expected = np.zeros(latents)
        expected[kept] = [before[i] if signed else max(before[i], 0) for i in kept]
        np.testing.assert_allclose(found[row].toarray()[0], expected, atol=1e-5)
    codes = dictionary.encode(torch.from_numpy(vectors))
    dense = torch.zeros(rows, latents).index_put((codes.rows, codes.latents), codes.values)
    np.testing.assert_allclose(found.toarray(), dense, atol=1e-5)


def test_what_a_vector_has_does_not_depend_on_those_beside_it():
    dictionary = some_dictionary(0, 300, 48, 8, False)
    vectors = np.random.default_rng(1).standard_normal((1300, 48)).astype(np.float32)
    whole = exact_codes(dictionary, vectors)
    for some in (slice(0, 1), slice(500, 533), slice(7, 1299)):
        assert (whole[some] != exact_codes(dictionary, vectors[some])).nnz == 0


def test_vectors_of_another_width_are_refused():
    with pytest.raises(InputError, match="vectors of 5 numbers"):
        exact_codes(some_dictionary(0, 6, 4, 2, False), np.zeros((2, 5), np.float32))


def test_strongest_keeps_signs_where_they_count():
    before = np.array([[-3.0, 1.0, -0.5, 2.0]], dtype=np.float32)
    assert sorted(strongest(before, 2)[0][0].tolist()) == [1.0, 2.0]
    assert sorted(strongest(before, 2, signed=True)[0][0].tolist()) == [-3.0, 2.0]
    assert sorted(strongest(before, 3)[0][0].tolist()) == [0.0, 1.0, 2.0]
