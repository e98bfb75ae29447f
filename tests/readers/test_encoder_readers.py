from __future__ import annotations

import numpy as np
import pytest

from saywell.errors import InputError
from saywell.readers.cosine import wordings
from saywell.readers.dual_encoder import DualEncoderReader
from saywell.readers.sentence_encoder import SentenceEncoderReader

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


@pytest.fixture(params=[SentenceEncoderReader, DualEncoderReader])
def opened(request):
    encoder = Counter()
    return request.param(encoder, encoder(TEXTS))


def test_the_nearest_alternative_counts(opened):
    either, both = opened.read(["battery, soup waiter", "soup waiter"], [np.arange(5)] * 2)
    assert either[0] == pytest.approx(1, abs=1e-3) and either[1] == pytest.approx(1, abs=1e-3)
    assert either[2] < 0.01
    assert both[0] < 0.01 and both[1] == pytest.approx(1, abs=1e-3)


def test_the_whole_counts_beside_its_parts(opened):
    assert wordings("battery, soup") == ["battery", "soup", "battery, soup"]
    assert wordings("soup ") == ["soup"] and wordings(" , ") == []
    (found,) = opened.read(["battery, soup"], [np.arange(5)])
    assert found[4] == pytest.approx(1, abs=1e-3)


def test_what_else_is_asked_changes_nothing(opened):
    rows = [np.array([4, 0]), np.array([], dtype=np.int64), np.array([3])] * 150
    descriptions = [f"{a}, {b}" for a in WORDS for b in WORDS for _ in range(29)][:450]
    together = list(opened.read(descriptions, rows))
    assert len(together) == 450
    for n in (0, 1, 2, 255, 256, 449):
        (alone,) = opened.read([descriptions[n]], [rows[n]])
        np.testing.assert_allclose(alone, together[n], atol=1e-6)
        assert alone.shape == rows[n].shape


def test_no_words_no_answer(opened):
    (found,) = opened.read(["?!"], [np.arange(5)])
    assert np.isnan(found).all() and len(found) == 5
    assert list(opened.read([], [])) == []


def test_a_wording_is_encoded_once():
    encoder = Counter()
    reader = SentenceEncoderReader(encoder, encoder(TEXTS))
    before = encoder.encoded
    list(reader.read(["soup", "soup, room", "room"], [np.arange(5)] * 3))
    assert encoder.encoded - before == 3


def test_vectors_must_be_unit_rows():
    with pytest.raises(InputError, match=r"row 1 has length 2\.000"):
        SentenceEncoderReader(Counter(), np.array([[1.0, 0], [0, 2]]))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        DualEncoderReader(Counter(), np.ones(3))
