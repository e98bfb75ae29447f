"""Zero-shot scores worked by hand, and the texts that should fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.encoders.vectors import unit_length
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.zero_shot import (
    class_embeddings,
    class_scores,
    mask_names,
    name_texts,
    neighbourhood_scores,
    permute_classes,
    predict,
    random_texts,
)


def test_the_score_is_the_mean_cosine():
    random = np.random.default_rng(0)
    texts, images = random.normal(size=(9, 5)), random.normal(size=(4, 5))
    text_class = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
    scores = class_scores(images, class_embeddings(texts, text_class, 4))
    cosine = unit_length(images) @ unit_length(texts).T
    for name in (0, 1, 3):
        assert np.allclose(scores[:, name], cosine[:, text_class == name].mean(1))
    assert np.isneginf(scores[:, 2]).all()  # a class without texts
    weights = np.array([1, 0, 0, 1, 1, 1, 1, 1, 1.0])
    weighted = class_scores(images, class_embeddings(texts, text_class, 4, weights))
    assert np.allclose(weighted[:, 0], cosine[:, 0])


def test_prediction_without_any_text():
    none = class_embeddings(np.zeros((0, 3)), np.zeros(0, dtype=int), 2)
    assert predict(np.ones((2, 3)), none).tolist() == [-1, -1]


def test_centring():
    vectors = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert np.allclose(balanced_mean(vectors, np.array([0, 0, 1])), [0.5, 0.5])
    assert np.allclose(
        centred(vectors * 7, np.array([0.5, 0.5])), np.array([[1, -1], [1, -1], [-1, 1]]) / 2**0.5
    )
    assert not unit_length(np.zeros((1, 2))).any()


def test_names_in_templates():
    texts, classes = name_texts(["cat", "a{}b{0}"], ["a {}.", "the {}!"])
    assert texts == ["a cat.", "the cat!", "a a{}b{0}.", "the a{}b{0}!"]
    assert classes.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Cat on a mat", "A object on a mat"),
        ("cats, cat's, CATS!", "object, object, object!"),
        ("a catalogue of concatenation", "a catalogue of concatenation"),
        ("a polar bear and a bear", "a object and a object"),
        ("a polar_bear, polar-bears", "a object, object"),
        ("Der Bär schläft", "Der object schläft"),
        ("c++ is (not) c+", "object is (not) c+"),
    ],
)
def test_names_are_masked(text, expected):
    assert mask_names([text], ["bear", "cat", "polar bear", "bär", "c++", " "]) == [expected]


def test_masking_without_names_or_with_markup():
    assert mask_names(["as it is"], []) == ["as it is"]
    assert mask_names(["a cat"], ["cat"], instead=r"\1") == [r"a \1"]


def test_random_texts_are_seeded():
    options = {"words": ["red", "wing"], "seed": 3}
    texts, classes = random_texts(["cat", "dog"], 4, **options)
    assert texts == random_texts(["cat", "dog"], 4, **options)[0]
    assert classes.tolist() == [0] * 4 + [1] * 4
    assert all("cat" in text for text in texts[:4])
    assert not any(
        "cat" in t or "dog" in t for t in random_texts(["cat", "dog"], 4, with_name=False, **options)[0]
    )
    assert len(random_texts(["cat"], 3, words=[], seed=0)[0]) == 3


@given(st.integers(2, 30), st.integers(0, 99))
def test_no_class_keeps_its_texts(classes, seed):
    before = np.arange(classes)
    after = permute_classes(before, classes, seed)
    assert sorted(after) == before.tolist()
    assert (after != before).all()


def test_one_class_cannot_be_permuted():
    assert permute_classes(np.zeros(3, dtype=int), 1, 0).tolist() == [0, 0, 0]


def test_neighbourhood():
    images = np.array([[1, 0, 0], [0.9, 0.4, 0], [0, 0, 1.0]])
    labels = np.array([0, 1, 2])
    texts = np.array([[1, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    # Class 0's one neighbour is class 1, so only that rival counts.
    scores = neighbourhood_scores(texts, np.array([0, 0, 0]), images, labels, 3, neighbours=1)
    second = unit_length(images)[1]
    assert np.allclose(scores, [1 - second[0], -second[1], second[1]])
    alone = neighbourhood_scores(texts, np.array([0, 0, 3]), images[:1], labels[:1], 4)
    assert np.isnan(alone).all()


def test_real_clip_embeddings(shared):
    """46 of 49 pictures among six names, as measured when the embeddings were made."""
    import json

    import polars as pl
    from safetensors.numpy import load_file

    folder = shared / "data" / "clip_space"
    subjects = pl.read_parquet(folder / "images50.parquet")["subject"].to_list()
    images = load_file(folder / "images50.safetensors")["image_embeddings"]
    names = json.loads((folder / "names.json").read_text())["coco80"]
    vectors = load_file(folder / "text_embeddings.safetensors")["coco80"].astype(np.float32)
    wanted = ["dog", "cat", "person", "car", "boat", "train"]
    texts = vectors[[names.index(name) for name in wanted]]
    found = predict(images, class_embeddings(texts, np.arange(6), 6))
    same = {"man": "person", "woman": "person", "ship": "boat"}
    truth = [same.get(subject, subject) for subject in subjects]
    right = sum(wanted[f] == t for f, t in zip(found, truth, strict=True))
    assert right == 46


def test_random_texts_in_different_numbers():
    texts, place = random_texts(["cat", "ship"], [1, 3], words=["wing", "tail"], seed=0)
    assert place.tolist() == [0, 1, 1, 1]
    assert ["cat" in text for text in texts] == [True, False, False, False]


def test_names_in_scripts_without_spaces_are_masked():
    assert mask_names(["白い灯台が海辺に立つ"], ["灯台"]) == ["白いobjectが海辺に立つ"]
    assert mask_names(["नीली चिड़िया", "चिड़ियाँ"], ["चिड़िया"]) == ["नीली object", "चिड़ियाँ"]
