from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from reading import of_texts, said

from saywell.data.examples import Examples
from saywell.data.tags import Tags
from saywell.description import Description
from saywell.errors import InputError
from saywell.readers.reader import AsksElse
from saywell.readers.registry import READERS, find_reader
from saywell.resources import Resources

TEXTS = ["cold soup", "a room", "soup in a room", "late"]


def test_every_reader_is_found_by_its_name_and_only_where_it_can_read():
    for name, reader in READERS.items():
        assert reader.name == name and reader.reads
        for kind in ("text", "image", "pair"):
            if kind in reader.reads:
                assert find_reader(name, kind) is reader
            else:
                with pytest.raises(
                    InputError, match=f"{name!r} reads .* only, and these are {kind} examples: use"
                ):
                    find_reader(name, kind)
    with pytest.raises(
        InputError, match="unknown reader 'tagz'; image examples can be read by claims, tags, dual-encoder"
    ):
        find_reader("tagz", "image")
    assert [name for name, reader in READERS.items() if isinstance(reader, AsksElse)] == ["fuzzing"]


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.costly])
def test_readers_that_ask_say_that_they_need_a_language_model(name):
    with pytest.raises(InputError, match=f"the reader {name!r} needs a (causal )?language model"):
        READERS[name].open(of_texts(TEXTS), Resources())


def test_tags_count_the_descriptors_that_are_named():
    matrix = sp.csr_matrix(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=np.float32))
    tags = Tags(matrix, np.array([True, True, True, False]), ("s", "r", "t"), ("soup", "room", "tea"))
    read = READERS["tags"].open(of_texts(TEXTS).with_tags(tags), Resources())
    both = [Description("u", "", descriptors=("r", "s")), Description("v", "soup, from nowhere")]
    np.testing.assert_array_equal(read(both, np.arange(4)), [[1, 1, 2, np.nan], [np.nan] * 4])
    np.testing.assert_array_equal(read(both, np.array([[2, 3], [0, 1]])), [[2, np.nan], [np.nan] * 2])
    with pytest.raises(InputError, match="the descriptor 'x'"):
        read([Description("u", "", descriptors=("x",))], np.arange(2))
    with pytest.raises(InputError, match="needs tags"):
        READERS["tags"].open(of_texts(TEXTS), Resources())


class Letters:
    """Counts letters in pictures, which are their names, and in texts of up to nine letters."""

    name, fingerprint, dim, max_tokens = "letters", "letters", 26, 9

    def encode_texts(self, texts):
        assert all(len(text) <= 9 for text in texts)
        counts = np.array([[text.count(chr(97 + n)) + 0.1 for n in range(26)] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)

    def encode_images(self, images):
        return self.encode_texts(images)

    def count_tokens(self, texts):
        return np.array([len(text) for text in texts])


def test_the_mean_of_texts_is_the_mean_of_cosines_over_what_can_be_read():
    names = ["kite", "gull", "tern", "owl"]
    table = pl.DataFrame({"id": names, "part": "score"})
    pictures = Examples(
        table, "image", "names", pl.DataFrame(), 4, pictures_of=lambda ids: ((id, id) for id in ids)
    )
    letters = Letters()
    read = READERS["mean-of-texts"].open(pictures, Resources(dual=letters))
    whole = Description(
        "u", "not read", parts=("red kite", "a kite", "a kite", "much too long a sentence", " ")
    )
    found = read([whole, Description("v", "gull"), Description("w", "none of it fits")], np.arange(4))
    cosines = letters.encode_texts(["red kite", "a kite", "a kite", "gull"]) @ letters.encode_texts(names).T
    np.testing.assert_allclose(found[0], cosines[:3].mean(0), rtol=1e-6)
    np.testing.assert_allclose(found[1], cosines[3], rtol=1e-6)
    assert np.isnan(found[2]).all() and found.dtype == np.float64
    own = np.array([[3, 0], [1, 1], [2, 0]])
    np.testing.assert_allclose(
        read([whole, Description("v", "gull"), whole], own)[:2], [found[0, own[0]], found[1, own[1]]]
    )
    best = READERS["dual-encoder"].open(pictures, Resources(dual=letters))
    np.testing.assert_allclose(best(said("owl, tern"), np.array([2, 3])), [[1, 1]], rtol=1e-6)
