"""Dictionaries against plain loops and planted directions, and topics against planted groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.errors import InputError, StorageError
from saywell.units.dictionary import Dictionary, fit, gradients, strongest, usual_size
from saywell.units.topics import topics


def planted(vectors: int, latents: int = 24, width: int = 32, active: float = 2.0, signed: bool = False):
    """Vectors that are a centre, a few of some directions, and noise."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((latents, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    amounts = (random.random((vectors, latents)) < active / latents) * random.uniform(
        0.5, 1.5, (vectors, latents)
    )
    if signed:
        amounts *= random.choice([-1, 1], amounts.shape)
    noise = 0.02 * random.standard_normal((vectors, width))
    return (amounts @ directions + 2 + noise).astype(np.float32), directions


def some_dictionary(seed: int, latents: int, width: int, k: int, signed: bool) -> Dictionary:
    random = np.random.default_rng(seed)
    encoder, decoder = random.standard_normal((2, latents, width)).astype(np.float32)
    bias, centre = random.standard_normal(latents), random.standard_normal(width)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    return Dictionary(encoder, bias.astype(np.float32), decoder, centre.astype(np.float32), k, signed)


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
    found = dictionary.encode(vectors)
    assert found.shape == (rows, latents)
    assert found.dtype == np.float32
    for row, vector in enumerate(vectors):
        before = [
            float(np.dot(e.astype(float), vector - dictionary.centre) + b)
            for e, b in zip(dictionary.encoder, dictionary.bias, strict=True)
        ]
        kept = sorted(range(latents), key=lambda i: -abs(before[i]) if signed else -before[i])[:k]
        expected = np.zeros(latents)
        expected[kept] = [before[i] if signed else max(before[i], 0) for i in kept]
        np.testing.assert_allclose(found[row].toarray()[0], expected, atol=1e-5)


def test_what_a_vector_has_does_not_depend_on_those_beside_it():
    dictionary = some_dictionary(0, 300, 48, 8, False)
    vectors = np.random.default_rng(1).standard_normal((1300, 48)).astype(np.float32)
    whole = dictionary.encode(vectors)
    for some in (slice(0, 1), slice(500, 533), slice(7, 1299)):
        assert (whole[some] != dictionary.encode(vectors[some])).nnz == 0


@pytest.mark.parametrize("signed", [False, True])
def test_gradients_are_those_of_a_dense_model(signed):
    dictionary = some_dictionary(0, 20, 6, 4, signed)
    x = np.random.default_rng(1).standard_normal((150, 6)).astype(np.float32)
    encoder, bias, decoder = weights = [
        torch.tensor(w, requires_grad=True) for w in (dictionary.encoder, dictionary.bias, dictionary.decoder)
    ]
    before = torch.tensor(x) @ encoder.T + bias
    values, places = (before.abs() if signed else before).topk(4, dim=1)
    kept = before.gather(1, places) if signed else values.relu()
    active = torch.zeros(150, 20).scatter(1, places, kept)
    ((active @ decoder - torch.tensor(x)).square().sum() / 2 / len(x)).backward()
    found, fired = gradients(dictionary, x)
    for own, weight in zip(found, weights, strict=True):
        np.testing.assert_allclose(own, weight.grad, atol=1e-5)
    assert set(fired.tolist()) == set(active.any(0).nonzero().ravel().tolist())


@pytest.mark.parametrize("signed", [False, True])
def test_planted_directions_are_found(signed):
    vectors, directions = planted(1200, signed=signed)
    found = fit(vectors[:1000], 48, 4, seed=0, signed=signed)
    likeness = found.decoder @ directions.T
    nearest = (np.abs(likeness) if signed else likeness).max(0)
    assert (nearest > 0.9).all()
    assert found.explained(vectors[1000:]) > 0.9
    np.testing.assert_allclose(np.linalg.norm(found.decoder, axis=1), 1, atol=1e-5)
    activations = found.encode(vectors)
    assert np.diff(activations.indptr).max() <= 4
    assert bool((activations.data < 0).any()) is signed


def test_the_same_seed_gives_the_same_dictionary_and_units_do_not_matter():
    vectors, _ = planted(300)
    first, again, other = (fit(vectors, 16, 2, seed=seed, passes=2) for seed in (1, 1, 2))
    assert np.array_equal(first.encoder, again.encoder)
    assert not np.array_equal(first.encoder, other.encoder)
    larger = fit(vectors * 1024 + 5, 16, 2, seed=1, passes=2)
    np.testing.assert_allclose(larger.decoder, first.decoder, atol=1e-2)


def test_copies_of_a_vector_are_no_two_directions():
    vectors, _ = planted(30)
    found = fit(np.repeat(vectors, 4, axis=0), 30, 2, seed=0, passes=1)
    assert (np.triu(found.decoder @ found.decoder.T, 1) < 0.99).all()


def test_more_latents_than_vectors():
    vectors, _ = planted(5)
    assert np.isfinite(fit(vectors, 40, 3, seed=0, passes=2).encode(vectors).data).all()


def test_a_dictionary_is_kept_in_a_file(tmp_path):
    dictionary = some_dictionary(0, 6, 4, 2, True)
    dictionary.save(tmp_path / "dictionary.safetensors")
    again = Dictionary.load(tmp_path / "dictionary.safetensors")
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    assert (again.encode(vectors) != dictionary.encode(vectors)).nnz == 0
    assert (again.k, again.signed) == (2, True)
    (tmp_path / "torn.safetensors").write_bytes(b"no tensors")
    with pytest.raises(StorageError, match="torn"):
        Dictionary.load(tmp_path / "torn.safetensors")


@pytest.mark.parametrize(
    ("vectors", "latents", "k", "says"),
    [
        (np.ones((9, 3), np.float32), 4, 2, "all 9 vectors are alike"),
        (np.full((9, 3), np.nan, np.float32), 4, 2, "not finite"),
        (np.zeros((0, 3), np.float32), 4, 2, "no vectors"),
        (np.eye(9, dtype=np.float32), 4, 5, "k=5"),
    ],
)
def test_what_no_dictionary_can_be_made_of(vectors, latents, k, says):
    with pytest.raises(InputError, match=says):
        fit(vectors, latents, k, seed=0)


def test_vectors_of_another_width_are_refused():
    with pytest.raises(InputError, match="vectors of 5 numbers"):
        some_dictionary(0, 6, 4, 2, False).encode(np.zeros((2, 5), np.float32))


def test_strongest_keeps_signs_where_they_count():
    before = np.array([[-3.0, 1.0, -0.5, 2.0]], dtype=np.float32)
    assert sorted(strongest(before, 2)[0][0].tolist()) == [1.0, 2.0]
    assert sorted(strongest(before, 2, signed=True)[0][0].tolist()) == [-3.0, 2.0]
    assert sorted(strongest(before, 3)[0][0].tolist()) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("vectors", [0, 1, 15, 60, 1000, 10**6])
def test_the_usual_size_can_be_fitted(vectors):
    latents, k = usual_size(vectors)
    assert 1 <= k <= latents


def test_topics_are_directions():
    random = np.random.default_rng(0)
    directions = np.eye(6)[:4]
    group = random.integers(0, 4, 200)
    lengths = random.uniform(0.1, 9, (200, 1))
    vectors = lengths * (directions[group] + 0.1 * random.standard_normal((200, 6)))
    labels, centres = topics(vectors, 4, seed=0)
    assert len({(a, b) for a, b in zip(labels.tolist(), group.tolist(), strict=True)}) == 4
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-6)
    assert np.array_equal((vectors @ centres.T).argmax(1), labels)


def test_topics_of_few_different_vectors():
    labels, centres = topics(np.repeat(np.eye(3, 4), 5, axis=0), 7, seed=0)
    assert len(centres) == len(set(labels.tolist())) == 3
    with pytest.raises(InputError, match="0 vectors"):
        topics(np.zeros((0, 4)), 2, seed=0)
