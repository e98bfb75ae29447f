"""The selection rules, worked by hand and on a small world with known good texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from saywell.influence.proponents import Strongest
from saywell.influence.tracin import HeadCheckpoints, Labelled
from saywell.selection import text_influence as rules

# Images 0 and 1 of class 0, 2 and 3 of class 1; texts 0 and 1 of class 0, text 2 of class 1.
SIMILARITY = np.array([[0.6, 0.3, 0.2], [0.4, 0.5, 0.2], [0.2, 0.3, 0.6], [0.4, 0.1, 0.2]])
LABELS = np.array([0, 0, 1, 1])
TEXT_CLASS = np.array([0, 0, 1])
HELPING = [Strongest(np.array([1, 0]), np.array([0.3, 0.1])), Strongest(np.array([2]), np.array([0.5]))]
NONE = Strongest(np.array([], dtype=int), np.array([]))


def test_the_paper_rule_by_hand():
    # (0.3 + 0.1) / 2 + (0.4 + 0.6) / 2 and so on.
    assert np.allclose(rules.ift_literal(SIMILARITY, HELPING, TEXT_CLASS), [0.7, 0.6, 1.1])


def test_the_paper_rule_ranks_like_the_cosine():
    random = np.random.default_rng(0)
    similarity, labels = random.normal(size=(20, 15)), np.repeat([0, 1], 10)
    text_class = np.repeat([0, 1, 1], 5)
    every = [Strongest(np.arange(10), random.random(10)), Strongest(np.arange(10, 20), random.random(10))]
    literal = rules.ift_literal(similarity, every, text_class)
    clip = rules.clip_only(similarity, labels, text_class)
    for name in (0, 1):
        own = text_class == name
        assert np.array_equal(np.argsort(literal[own]), np.argsort(clip[own]))


def test_the_weighted_rule_by_hand():
    # Text 0: mean 0.4, variance (0.2**2 + 0 + 0.2**2 + 0) / 4 = 0.02; weights 3/4 (image 1), 1/4 (image 0).
    # Text 1: mean 0.3, deviations 0, 0.2, 0, -0.2.  Text 2: mean 0.3, deviation of image 2 is 0.3.
    spread = 0.02**0.5
    expected = [0.25 * 0.2 / spread, 0.75 * 0.2 / spread, 0.3 / 0.03**0.5]
    assert np.allclose(rules.ift_proponent(SIMILARITY, LABELS, HELPING, TEXT_CLASS), expected)
    harming = [NONE, Strongest(np.array([3]), np.array([-2.0]))]
    expected[2] -= -0.1 / 0.03**0.5
    assert np.allclose(rules.ift_proponent(SIMILARITY, LABELS, HELPING, TEXT_CLASS, harming), expected)


def test_classes_weigh_the_same_in_the_standardised_cosine():
    z = rules.standardised(np.array([[1.0], [1.0], [1.0], [-1.0]]), np.array([0, 0, 0, 1]))
    assert np.allclose(z[:, 0], [1, 1, 1, -1])
    assert not rules.standardised(np.ones((3, 1)), np.array([0, 0, 1])).any()


def test_text_influence_by_hand():
    # Weights 0: p - y is -1/2 for the own class. Text (1, 0) of class 0, image (0.6, 0.8) of class 0 and
    # (1, 0) of class 1: rate * 1/2 * (0.6 + 1), and -rate * 1/2 * (1 + 1).
    head = HeadCheckpoints(torch.zeros(1, 2, 2), torch.zeros(1, 2), np.array([0.1]))
    validation = Labelled(np.array([[0.6, 0.8], [1.0, 0.0]]), np.array([0, 1]))
    texts, text_class = np.array([[1.0, 0.0]]), np.array([0])
    assert np.allclose(rules.text_influence(texts, text_class, validation, head), [0.08])
    both = rules.text_influence(texts, text_class, validation, head, on="all")
    assert np.allclose(both, [(0.08 - 0.1) / 2])


def test_nearest_clip_only_and_influence_only():
    influence = np.array([[0.4, -0.1], [0.2, -0.3], [-0.2, 0.6], [-0.4, 0.2]])
    found = rules.nearest(SIMILARITY, influence, TEXT_CLASS, neighbours=1)
    assert np.allclose(found, [0.4, 0.2, 0.6])
    # Text 0's second nearest are images 1 and 3 alike: the earlier one counts.
    assert np.allclose(rules.nearest(SIMILARITY, influence, TEXT_CLASS, neighbours=2)[0], 0.3)
    assert np.allclose(rules.clip_only(SIMILARITY, LABELS, TEXT_CLASS), [0.5, 0.4, 0.4])
    assert np.allclose(rules.influence_only(HELPING, TEXT_CLASS), [0.2, 0.2, 0.5])


def test_classes_without_images_have_no_scores():
    lone = np.array([0, 0, 2])
    helping = [*HELPING, NONE]
    for scores in (
        rules.ift_literal(SIMILARITY, helping, lone),
        rules.ift_proponent(SIMILARITY, LABELS, helping, lone),
        rules.clip_only(SIMILARITY, LABELS, lone),
        rules.influence_only(helping, lone),
    ):
        assert np.isnan(scores).tolist() == [False, False, True]


def test_select():
    scores = np.array([0.1, 0.9, np.nan, 0.5, 0.2, -1.0])
    chosen = rules.select(scores, np.array([0, 0, 0, 0, 1, 1]), k=2)
    assert np.flatnonzero(chosen).tolist() == [1, 3, 4, 5]
    same = np.zeros(100)
    picks = [np.flatnonzero(rules.select(same, same.astype(int), k=3, seed=s)).tolist() for s in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    assert not rules.select(np.array([]), np.array([], dtype=int)).any()


def test_controls():
    assert np.array_equal(rules.at_random(5, 3), rules.at_random(5, 3))
    assert rules.longest(["ab", "", "ünï"]).tolist() == [2, 0, 3]


def planted(seed=0, classes=6, dim=32, a_class=20):
    """Half of each class's texts point to its centre, the others anywhere; and a modality gap."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))

    def images(count):
        labels = np.repeat(np.arange(classes), count)
        return Labelled(centres[labels] + random.normal(size=(len(labels), dim)) + 1, labels)

    text_class = np.repeat(np.arange(classes), a_class)
    good = np.arange(len(text_class)) % 2 == 0
    texts = random.normal(size=(len(text_class), dim)) + good[:, None] * centres[text_class]
    return images(15), images(10), texts - 1, text_class, good


def test_rules_find_the_good_texts():
    train, validation, texts, text_class, good = planted()
    measured = [rules.Measured(train, validation, classes=6, rates=np.full(30, 0.1))]
    scores = rules.score_texts(measured, texts, text_class, strings=["x"] * len(texts))
    auroc = {name: roc_auc_score(good, values) for name, values in scores.items()}
    for name in ("ift-proponent", "ift-opponent", "text-influence", "text-influence-all", "nearest"):
        assert auroc[name] > 0.85, auroc
    assert abs(auroc["random"] - 0.5) < 0.15
    assert auroc["longest"] == 0.5


@pytest.mark.parametrize("count", [1, 3, 9])
def test_scores_inside_the_shots(count):
    train, _, texts, text_class, good = planted(2)
    rows = np.concatenate([np.flatnonzero(train.labels == c)[:count] for c in range(6)])
    shots = Labelled(train.features[rows], train.labels[rows])
    measured = rules.measured_inside(shots, classes=6, rates=np.full(30, 0.1))
    scores = rules.score_texts(measured, texts, text_class)
    assert roc_auc_score(good, scores["text-influence"]) > 0.7
    assert not np.isnan(scores["clip-only"]).any()


@pytest.mark.parametrize("name", ["ift-proponent", "stepwise", "longest", "nothing of the kind"])
def test_one_rule_alone_gives_what_it_gives_among_all(name):
    train, validation, texts, text_class, _ = planted(3)
    options, strings = {"classes": 6, "rates": np.full(5, 0.1)}, ["x"] * len(texts)

    def split():
        return [rules.Measured(train, validation, **options)]

    def folds():
        return rules.measured_inside(train, **options)

    every, inside = (rules.score_texts(make(), texts, text_class, strings=strings) for make in (split, folds))
    # What images say is computed once, and must not depend on what was scored by it before.
    again = split()
    rules.score_texts(again, texts[::-1][:9], text_class[::-1][:9], only="ift-proponent")
    alone = rules.score_texts(again, texts, text_class, strings=strings, only=name)
    alone_inside = rules.score_texts(folds(), texts, text_class, strings=strings, only=name)
    assert set(alone) == set(alone_inside) == {name} & set(every)
    for found, expected in ((alone, every), (alone_inside, inside)):
        for rule, values in found.items():
            assert np.array_equal(values, expected[rule])


def test_one_image_one_text_and_a_class_with_neither():
    train, validation, texts, text_class, _ = planted()
    one = Labelled(train.features[:1], train.labels[:1])
    options = {"classes": 8, "rates": np.full(3, 0.1)}
    measured = [rules.Measured(one, validation, **options)]
    scores = rules.score_texts(measured, texts[:1], text_class[:1])
    assert all(values.shape == (1,) for values in scores.values())
    measured = [rules.Measured(train, validation, **options)]
    none = rules.score_texts(measured, texts[:0], text_class[:0])
    assert all(values.shape == (0,) for values in none.values())


def test_texts_with_the_same_neighbours_score_the_same_to_the_last_digit():
    random = np.random.default_rng(0)
    similarity = random.random((7, 40))
    similarity[5:] -= 2  # the other five are nearest to every text, each time in another order
    scores = rules.nearest(similarity, random.normal(size=(7, 1)), np.zeros(40, dtype=int))
    assert len(set(scores.tolist())) == 1
