from __future__ import annotations

import numpy as np
import pytest
from reading import said

from saywell.errors import InputError
from saywell.readers.cosine import by_mean, by_nearest, wordings

WORDS = "battery soup waiter room".split()
TEXTS = ["battery", "soup waiter", "room", "soup", "battery soup"]


class Counter:
    """Counts words; tells how many texts it was given."""

    name, fingerprint, dim, max_tokens = "words", "words", len(WORDS) + 1, 9

    def __init__(self):
        self.encoded = 0

    def __call__(self, texts):
        self.encoded += len(texts)
        counts = [[t.replace(",", " ").split().count(w) for w in WORDS] + [0.01] for t in texts]
        vectors = np.array(counts, dtype=np.float32).reshape(len(texts), self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_texts(self, texts):
        return self(texts)

    def encode_images(self, images):
        raise AssertionError("images are encoded before")

    def count_tokens(self, texts):
        return np.array([len(text.split()) for text in texts])


@pytest.fixture
def opened():
    encoder = Counter()
    return by_nearest(encoder, encoder(TEXTS))


def test_the_nearest_alternative_counts(opened):
    either, both = opened(said("battery, soup waiter", "soup waiter"), np.arange(5))
    assert either[0] == pytest.approx(1, abs=1e-3) and either[1] == pytest.approx(1, abs=1e-3)
    assert either[2] < 0.01
    assert both[0] < 0.01 and both[1] == pytest.approx(1, abs=1e-3)


def test_the_whole_counts_beside_its_parts(opened):
    assert wordings("battery, soup") == ["battery", "soup", "battery, soup"]
    assert wordings("soup ") == ["soup"] and wordings(" , ") == []
    (found,) = opened(said("battery, soup"), np.arange(5))
    assert found[4] == pytest.approx(1, abs=1e-3)


def test_what_else_is_asked_changes_nothing(opened):
    rows = np.array([[4, 0], [1, 1], [3, 2]] * 150)
    descriptions = said(*[f"{a}, {b}" for a in WORDS for b in WORDS for _ in range(29)][:450])
    together = opened(descriptions, rows)
    assert together.shape == (450, 2)
    for n in (0, 1, 2, 255, 256, 449):
        (alone,) = opened([descriptions[n]], rows[n])
        np.testing.assert_allclose(alone, together[n], atol=1e-6)
    assert opened(descriptions, rows[:, :0]).shape == (450, 0)


def test_no_words_no_answer(opened):
    (found,) = opened(said("?!"), np.arange(5))
    assert np.isnan(found).all() and len(found) == 5
    assert opened([], np.arange(5)).shape == (0, 5)


def test_a_wording_is_encoded_once():
    encoder = Counter()
    read = by_nearest(encoder, encoder(TEXTS))
    before = encoder.encoded
    read(said("soup", "soup, room"), np.arange(5))
    read(said("room", "soup"), np.arange(5))
    assert encoder.encoded - before == 3


def test_vectors_must_be_unit_rows():
    with pytest.raises(InputError, match=r"row 1 has length 2\.000"):
        by_nearest(Counter(), np.array([[1.0, 0], [0, 2]]))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        by_mean(Counter(), np.ones(3))
