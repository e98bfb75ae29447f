from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from reading import said

from saywell.data.texts import load_texts
from saywell.encoders.words import vocabulary
from saywell.errors import InputError
from saywell.readers.cosine import CosineReader, Words, by_mean, by_nearest, wordings
from saywell.resources import Resources

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
    assert wordings('ends with "soup"', quoted=True) == ['ends with "soup"', "soup"]
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


def test_the_nearest_word_of_a_text_counts_as_much_as_the_whole():
    encoder, texts = Counter(), ["battery soup", "soup soup soup battery", "?", "room"]
    said_by = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    words = Words(encoder(["battery", "soup", "room"]), sp.csr_matrix(said_by))
    whole, both = (by_nearest(encoder, encoder(texts), list, w) for w in (None, words))
    asked = said("battery", "soup, waiter room", 'the "room"')
    for rows in (np.arange(4), np.array([[3, 0], [2, 1], [1, 3]])):
        plain, found = whole(asked, rows), both(asked, rows)
        for n, own in enumerate(rows if rows.ndim == 2 else [rows] * 3):
            plainly, offers = encoder(wordings(asked[n].text)), encoder(wordings(asked[n].text, quoted=True))
            for m, row in enumerate(own):
                near = [encoder([texts[row]])[0] @ offer for offer in offers]
                word = [
                    max((words.vectors[w] @ offer for w in np.flatnonzero(said_by[row])), default=cosine)
                    for offer, cosine in zip(offers, near, strict=True)
                ]
                assert plain[n, m] == pytest.approx(max(near[: len(plainly)]), abs=1e-6)
                assert found[n, m] == pytest.approx(max(np.add(near, word) / 2), abs=1e-6)


def test_words_have_vectors_of_their_own_once_and_the_commonest_first():
    assert vocabulary(["a b b", "B c’s d", "d"]) == ["b", "d", "a", "c"] and vocabulary(
        ["a b b", "B"], 1
    ) == ["b"]
    encoder = Counter()
    examples = load_texts(
        pl.DataFrame({"text": [f"soup {a} {b}" for a in WORDS for b in ("fly", "ox", "cow")]})
    )
    resources = Resources(encoder)
    read = CosineReader("sentence-encoder", ("text",)).open(examples, resources)
    before = encoder.encoded
    describe = examples.only(examples.parts.describe)
    again = CosineReader("sentence-encoder", ("text",)).open(describe, resources)
    assert encoder.encoded == before  # a part has its vectors from the whole
    rows = examples.parts.describe.rows
    np.testing.assert_allclose(read(said("soup"), rows), again(said("soup"), np.arange(len(rows))))


def test_vectors_must_be_unit_rows():
    with pytest.raises(InputError, match=r"row 1 has length 2\.000"):
        by_nearest(Counter(), np.array([[1.0, 0], [0, 2]]))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        by_mean(Counter(), np.ones(3))
