"""How many meanings a set of exemplars has."""

from __future__ import annotations

import numpy as np

from saywell.describers.meanings import cluster_exemplars

RANDOM = np.random.default_rng(0)


def around(direction, count, spread=0.1):
    vectors = direction + spread * RANDOM.normal(size=(count, len(direction))) / 4
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def world():
    """A corpus without clusters, and two tight topics at its end."""
    corpus = around(np.zeros(16), 400, spread=4)
    first, second = np.eye(16)[0], np.eye(16)[1]
    return np.concatenate([corpus, around(first, 20), around(second, 12)]), np.arange(400)


def test_two_topics_are_two_meanings_and_one_is_one():
    vectors, corpus = world()
    topics = np.arange(400, 432)
    both, one = cluster_exemplars([topics, topics[:20]], vectors, corpus, seed=0)
    assert both.tolist() == [0] * 20 + [1] * 12
    assert set(one.tolist()) == {0}


def test_random_sets_rarely_fall_apart():
    vectors, corpus = world()
    sets = [RANDOM.choice(corpus, 30, replace=False) for _ in range(100)]
    labels = cluster_exemplars(sets, vectors, corpus, seed=0)
    assert sum(len(set(found.tolist()) - {-1}) > 1 for found in labels) <= 12  # 5 expected


def test_order_and_company_change_nothing():
    vectors, corpus = world()
    topics = np.arange(400, 432)
    order = RANDOM.permutation(32)
    (alone,) = cluster_exemplars([topics[order]], vectors, corpus, seed=0)
    _, beside = cluster_exemplars([corpus[:25], topics], vectors, corpus, seed=0)
    assert alone.tolist() == beside[order].tolist()


def test_few_exemplars_have_one_meaning():
    vectors, corpus = world()
    few, none = cluster_exemplars([np.array([401, 402, 425]), np.array([], int)], vectors, corpus)
    assert few.tolist() == [0, 0, 0] and none.tolist() == []
