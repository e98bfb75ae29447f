"""Stepwise choice of texts: against a plain loop, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.selection.stepwise import SCALES, stepwise


def world(seed, images=12, texts=15, classes=3):
    random = np.random.default_rng(seed)
    similarity = random.uniform(-1, 1, size=(images, texts))
    labels = np.r_[np.arange(classes), random.integers(0, classes, images - classes)]
    text_class = np.r_[np.arange(classes), random.integers(0, classes, texts - classes)]
    return similarity, labels, text_class


def loss_of(similarity, labels, means, scale):
    """Cross-entropy of the softmax of the mean cosines, every class weighing the same."""
    logits = scale * np.stack([similarity[:, rows].mean(1) for rows in means], 1)
    each = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return np.array([each[labels == c].mean() for c in range(len(means))])


def plain(similarity, labels, text_class, k, scale):
    """The same choice as literally as can be: the loss is computed anew for every text."""
    classes = int(text_class.max()) + 1
    every = [list(np.flatnonzero(text_class == c)) for c in range(classes)]
    taken = [[] for _ in range(classes)]
    places = np.zeros(len(text_class))

    def total(c, rows):
        means = [taken[o] or every[o] for o in range(classes)]
        return loss_of(similarity, labels, [*means[:c], rows, *means[c + 1 :]], scale).mean()

    for place in range(1, k + 1):
        now = loss_of(similarity, labels, [taken[c] or every[c] for c in range(classes)], scale)
        for c in np.argsort(-now, kind="stable"):
            left = [t for t in every[c] if t not in taken[c]]
            if left:
                best = min(left, key=lambda t: total(c, [*taken[c], t]))
                taken[c].append(best)
                places[best] = place
    for c in range(classes):
        left = [t for t in every[c] if t not in taken[c]]
        for number, t in enumerate(sorted(left, key=lambda t: total(c, [*taken[c], t]))):
            places[t] = k + 1 + number
    return -places


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2.0, 20.0, 160.0]), st.integers(1, 4))
def test_equals_a_plain_loop(seed, scale, k):
    similarity, labels, text_class = world(seed)
    found = stepwise(similarity, labels, text_class, k, scale=scale)
    expected = plain(similarity, labels, text_class, k, scale)
    # At a large scale the loss can be 0 to the last digit for several texts.
    chosen = found >= -k
    if scale < 100:
        assert np.array_equal(found, expected)
    else:
        assert chosen.sum() == (expected >= -k).sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_images_and_texts_does_not_matter(seed):
    similarity, labels, text_class = world(seed)
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(len(labels)), random.permutation(len(text_class))
    found = stepwise(similarity, labels, text_class, 3, scale=10)
    moved = stepwise(similarity[np.ix_(rows, columns)], labels[rows], text_class[columns], 3, scale=10)
    assert np.array_equal(moved, found[columns])


def test_names_of_classes_do_not_matter():
    similarity, labels, text_class = world(3)
    other = np.array([7, 2, 4])
    found = stepwise(similarity, labels, text_class, 3, scale=10)
    assert np.array_equal(stepwise(similarity, other[labels], other[text_class], 3, scale=10), found)


def test_fewer_rounds_choose_a_part_of_what_more_choose():
    similarity, labels, text_class = world(5, images=40, texts=60)
    few, many = (stepwise(similarity, labels, text_class, k, scale=10) for k in (3, 9))
    assert np.array_equal(few[few >= -3], many[many >= -3])
    assert (few >= -3).tolist() == (many >= -3).tolist()


def test_copies_of_the_best_text_are_not_chosen_again():
    # Class 0 has two kinds of images. Text 0 fits the first kind a little better than text 4 fits
    # the second, texts 1 to 3 are its copies: alone each beats text 4, beside text 0 none does.
    first, second, other = np.eye(3)
    images = np.array([first, first, first, second, second, other, other])
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    texts = np.array([first, first, first, first, second, other])
    text_class = np.array([0, 0, 0, 0, 0, 1])
    found = stepwise(images @ texts.T, labels, text_class, 2, scale=5)
    assert found[4] == -2
    assert found[:4].max() == -1
    assert (found[:4] >= -2).sum() == 1


def test_equal_texts_are_ordered_by_the_seed_and_not_by_the_file():
    similarity, labels = np.ones((4, 30)), np.array([0, 0, 1, 1])
    text_class = np.repeat([0, 1], 15)
    found = [stepwise(similarity, labels, text_class, 2, scale=5, seed=s) for s in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_scale_is_the_one_that_carries_over():
    # Texts that point to their class are found at any scale; noise in the images makes large ones worse.
    random = np.random.default_rng(0)
    centres = random.normal(size=(4, 16))
    labels = np.repeat(np.arange(4), 20)
    images = centres[labels] + 2.5 * random.normal(size=(80, 16))
    text_class = np.repeat(np.arange(4), 30)
    texts = centres[text_class] + 4 * random.normal(size=(120, 16))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    fresh = centres[labels] + 2.5 * random.normal(size=(80, 16))

    def accuracy(scores):
        means = np.stack([texts[(text_class == c) & (scores >= -5)].mean(0) for c in range(4)])
        return ((fresh @ means.T).argmax(1) == labels).mean()

    chosen = accuracy(stepwise(images @ texts.T, labels, text_class, 5))
    every = [accuracy(stepwise(images @ texts.T, labels, text_class, 5, scale=s)) for s in SCALES]
    assert min(every) - 1e-9 <= chosen <= max(every) + 1e-9
    assert chosen >= np.median(every)
    means = np.stack([texts[text_class == c].mean(0) for c in range(4)])
    assert chosen > ((fresh @ means.T).argmax(1) == labels).mean()


@pytest.mark.parametrize("scale", [None, 10.0])
def test_classes_without_images_or_texts(scale):
    similarity, labels, text_class = world(2, images=9, texts=12, classes=3)
    here = labels != 1
    found = stepwise(similarity[here], labels[here], text_class, 2, scale=scale)
    assert np.isnan(found[text_class == 1]).all()
    assert not np.isnan(found[text_class != 1]).any()
    known = text_class != 2  # images of a class without texts say nothing
    found = stepwise(similarity[:, known], labels, text_class[known], 2, scale=scale)
    seen = labels != 2
    alone = stepwise(similarity[seen][:, known], labels[seen], text_class[known], 2, scale=scale)
    assert np.array_equal(found, alone)
    assert np.isnan(stepwise(similarity[:0], labels[:0], text_class, 2, scale=scale)).all()
    one = stepwise(similarity[:3], labels[:3], text_class, 2, scale=scale)
    assert not np.isnan(one).any()


def test_of_many_images_an_equal_share_of_each_class_is_looked_at(monkeypatch):
    monkeypatch.setattr("saywell.selection.stepwise.MOST_IMAGES", 20)
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [1000, 12])
    similarity = random.uniform(-1, 1, size=(len(labels), 8))
    text_class = np.repeat([0, 1], 4)
    seen = []
    monkeypatch.setattr(
        "saywell.selection.stepwise._places",
        lambda cosines, truth, own, k, scale: seen.append(np.bincount(truth)) or np.ones(len(own)),
    )
    stepwise(similarity, labels, text_class, 2, scale=5)
    assert seen[0].tolist() == [10, 10]


def test_many_blocks_give_what_one_gives(monkeypatch):
    similarity, labels, text_class = world(9, images=100, texts=40)
    one = stepwise(similarity, labels, text_class, 4, scale=10)
    monkeypatch.setattr("saywell.selection.stepwise._BLOCK", 70)
    assert np.array_equal(stepwise(similarity, labels, text_class, 4, scale=10), one)
