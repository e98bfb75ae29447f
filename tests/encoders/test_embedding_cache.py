from __future__ import annotations

import sqlite3

import numpy as np
import polars as pl
import pytest
from PIL import Image

from saywell.data.images import load_images
from saywell.encoders.cache import EmbeddingCache, embed_images, embed_texts
from saywell.encoders.precomputed import open_precomputed
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError


class Counting:
    """A dual encoder that keeps what it was asked to encode."""

    name, dim, max_tokens = "counting", 3, 99

    def __init__(self, fingerprint="one"):
        self.fingerprint, self.texts, self.images = fingerprint, [], 0

    def encode_texts(self, texts):
        self.texts += texts
        return unit_length(np.array([[len(t), 1, ord(t[0]) / 100] for t in texts])).astype(np.float32)

    def encode_images(self, images):
        self.images += len(images)
        return unit_length(np.stack([np.asarray(i, dtype=float).mean(axis=(0, 1)) for i in images])).astype(
            np.float32
        )

    def count_tokens(self, texts):
        return np.ones(len(texts), dtype=np.int64)


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(6):
            pixels = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((16, 16)).save(tmp_path / "pictures" / name / f"{k}.png")
    return load_images(tmp_path / "pictures")


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "deep" / "vectors.sqlite")


def test_texts_are_encoded_once(cache):
    encoder, told = Counting(), []
    texts = ["bb", "a", "bb", "ccc"]
    first = embed_texts(encoder, texts, cache, chunk=2, progress=told.append)
    assert sorted(encoder.texts) == ["a", "bb", "ccc"] and sum(told) == 4
    assert np.array_equal(first, encoder.encode_texts(texts))
    again = Counting()
    assert np.array_equal(embed_texts(again, texts[::-1], cache), first[::-1]) and again.texts == []
    assert embed_texts(again, [], cache).shape == (0, 3)


def test_another_encoder_gets_nothing_of_it(cache):
    embed_texts(Counting(), ["a"], cache)
    other = Counting("two")
    embed_texts(other, ["a"], cache)
    assert other.texts == ["a"]


def test_images_are_encoded_once_and_come_in_the_order_asked(cache, images):
    encoder, told = Counting(), []
    whole = embed_images(encoder, images, cache=cache, chunk=5, progress=told.append)
    assert encoder.images == 12 and sum(told) == 12 and whole.shape == (12, 3)
    ids = images.table["id"].to_list()
    for place, (id, picture) in enumerate(sorted(images.pictures())):
        assert id == ids[place] and np.allclose(whole[place], Counting().encode_images([picture])[0])
    again = Counting()
    assert np.array_equal(embed_images(again, images, ids[::-3], cache), whole[::-3]) and again.images == 0


def test_what_was_encoded_before_a_fall_is_kept(cache, images):
    class Falling(Counting):
        def encode_images(self, images):
            if self.images >= 8:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with pytest.raises(KeyboardInterrupt):
        embed_images(Falling(), images, cache=cache, chunk=4)
    again = Counting()
    embed_images(again, images, cache=cache, chunk=4)
    assert again.images == 4


def test_no_cache_of_embeddings(tmp_path):
    (tmp_path / "x").write_bytes(b"something else entirely" * 100)
    with pytest.raises(InputError, match="is not a cache of embeddings"):
        EmbeddingCache(tmp_path / "x")


# ---- precomputed vectors


def write(path, **columns):
    pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize("key", ["id", "name", "row"])
def test_vectors_from_parquet(images, tmp_path, key):
    table = images.table.sample(fraction=1, shuffle=True, seed=1)
    vectors = {k: [float(n), 1.0, 2.0] for n, k in enumerate(table[key])}
    seen = write(tmp_path / "i.parquet", **{key: list(vectors), "embedding": list(vectors.values())})
    read = write(tmp_path / "t.parquet", text=["red", "blue"], embedding=[[1.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    encoder = open_precomputed(seen, read)
    found = embed_images(encoder, images)
    assert np.allclose(found, unit_length(np.array([vectors[k] for k in images.table[key]])))
    assert np.allclose(embed_texts(encoder, ["blue"]), [[0, 0.6, 0.8]])
    assert encoder.texts == ["red", "blue"] and encoder.dim == 3
    with pytest.raises(InputError, match="no vector for the text 'green'"):
        encoder.encode_texts(["red", "green"])
    with pytest.raises(InputError, match="cannot encode new ones"):
        encoder.encode_images([Image.new("RGB", (8, 8))])


def test_vectors_from_safetensors(images, tmp_path):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    rows, texts = rng.normal(size=(12, 4)).astype("f4"), rng.normal(size=(2, 4)).astype("f2")
    path = tmp_path / "v.safetensors"
    save_file({"pictures": rows, "words": texts}, path)
    (tmp_path / "n.json").write_text('["red", "blue"]')
    encoder = open_precomputed(
        path, path, image_tensor="pictures", text_tensor="words", names=tmp_path / "n.json"
    )
    assert np.allclose(embed_images(encoder, images), unit_length(rows[images.table["row"].to_numpy()]))
    assert np.allclose(encoder.encode_texts(["blue"]), unit_length(texts[1:], float), atol=1e-6)
    with pytest.raises(InputError, match=r"name one with image_tensor=\.\.\."):
        open_precomputed(path, path, names=["a", "b"])
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        open_precomputed(
            path, path, image_tensor="pictures", text_tensor="words", names=tmp_path / "deep.json"
        )
    with pytest.raises(InputError, match="3 names for 2 vectors"):
        open_precomputed(path, path, image_tensor="pictures", text_tensor="words", names=["a", "b", "c"])


GOOD = {"text": ["red"], "embedding": [[1.0, 2.0]]}


@pytest.mark.parametrize(
    ("pictures", "texts", "message"),
    [
        ({"row": [0], "embedding": [[1.0]]}, GOOD, r"have \[1, 2\] numbers"),
        ({"file": [0], "embedding": [[1.0, 2.0]]}, GOOD, "none of the columns id, name, row"),
        ({"row": [0], "vector": [[1.0, 2.0]]}, GOOD, "no column 'embedding'"),
        ({"row": [0, 0], "embedding": [[1.0, 2.0]] * 2}, GOOD, "more than one vector for '0'"),
        ({"row": [0], "embedding": [[0.0, 0.0]]}, GOOD, "is no direction"),
        ({"row": [0], "embedding": [[1.0, float("nan")]]}, GOOD, "is no direction"),
        ({"row": [0, 1], "embedding": [[1.0], [1.0, 2.0]]}, GOOD, "different lengths"),
        ({"row": [0], "embedding": ["a"]}, GOOD, "holds String, not vectors"),
        ({"row": [0, 1], "embedding": [[1.0, 2.0], None]}, GOOD, "rows without a vector"),
        (
            {"row": [0], "embedding": [[1.0, 2.0]]},
            {"word": ["red"], "embedding": [[1.0, 2.0]]},
            "no column 'text'",
        ),
    ],
)
def test_files_that_hold_no_embeddings(tmp_path, pictures, texts, message):
    seen, read = write(tmp_path / "i.parquet", **pictures), write(tmp_path / "t.parquet", **texts)
    with pytest.raises(InputError, match=message):
        open_precomputed(seen, read)


def test_an_image_without_a_vector(images, tmp_path):
    seen = write(tmp_path / "i.parquet", row=[0], embedding=[[1.0, 2.0]])
    encoder = open_precomputed(seen, write(tmp_path / "t.parquet", **GOOD))
    with pytest.raises(InputError, match=r"no vector for the image with row .*11 of 12 are missing"):
        embed_images(encoder, images)


def test_true_clip_vectors(shared):
    folder = shared / "data" / "clip_space"
    import json

    names = json.loads((folder / "names.json").read_text())["coco80"]
    encoder = open_precomputed(
        folder / "images50.safetensors",
        folder / "text_embeddings.safetensors",
        text_tensor="coco80",
        names=[f"a {n}" for n in names],
    )
    images = load_images(folder / "images50.parquet", label="subject", near=None)
    assert (images.rejected["reason"] == "no image").sum() == 8
    shown = ["dog", "cat", "person", "car", "boat", "train"]
    best = (embed_images(encoder, images) @ encoder.encode_texts([f"a {n}" for n in shown]).T).argmax(1)
    same = {"man": "person", "woman": "person", "ship": "boat"}
    known = images.table.with_columns(best=pl.Series([shown[b] for b in best]))
    known = known.with_columns(label=pl.col("label").replace(same)).filter(pl.col("label").is_in(shown))
    assert (known["label"] == known["best"]).mean() > 0.85


def test_beside_a_damaged_vector_none_is_believed(cache):
    """Encoded in other company a vector differs in its last digit, and so would all made of it."""
    texts = ["bb", "a", "ccc", "dddd"]
    first = embed_texts(Counting(), texts, cache, chunk=2)
    with sqlite3.connect(cache.path) as connection:
        key, stored = connection.execute("select key, vector from vectors").fetchone()
        flipped = bytes([stored[0] ^ 1]) + stored[1:]
        connection.execute("update vectors set vector = ? where key = ?", (flipped, key))
    again = Counting()
    assert np.array_equal(embed_texts(again, texts, cache, chunk=2), first)
    assert again.texts == texts
    once_more = Counting()
    embed_texts(once_more, texts, cache)
    assert once_more.texts == []
