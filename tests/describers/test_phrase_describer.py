from __future__ import annotations

import numpy as np
import pytest

from saywell.describers.extractive import MIN_HITS, typical_phrases
from saywell.describers.phrases import PhraseCounts


def describe_by_phrases(texts, exemplars):
    counts = PhraseCounts(texts, min_sentences=MIN_HITS)
    found = typical_phrases(counts, [np.flatnonzero(row) for row in exemplars])
    return [[counts.wordings[key] for key in keys] for keys in found]


FILLER = "table window garden letter bottle engine mirror pencil".split()


@pytest.fixture
def texts():
    random = np.random.default_rng(0)
    made = []
    for n in range(400):
        said = ["battery life"] * (n % 8 == 0) + ["soup"] * (n % 8 == 1)
        made.append(", ".join([*said, *random.choice(FILLER, 3)]) + ".")
    return made


def firing(texts, *words):
    return np.array([any(word in text for word in words) for text in texts])


def test_phrases_that_exemplars_share_are_named_whole(texts):
    (named,) = describe_by_phrases(texts, firing(texts, "battery")[None])
    assert named == ["battery life"]


def test_both_sorts_of_exemplars_are_named(texts):
    (named,) = describe_by_phrases(texts, firing(texts, "battery", "soup")[None])
    assert set(named) == {"battery life", "soup"}


def test_chance_is_not_described(texts):
    random = np.random.default_rng(1)
    named = describe_by_phrases(texts, random.random((100, len(texts))) < 0.1)
    assert sum(bool(phrases) for phrases in named) <= 10  # one in twenty is to be expected
    words = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in ("lt", "nd", "rk", "st")]
    many = [" ".join(random.choice(words, 8)) for _ in range(400)]
    named = describe_by_phrases(many, random.random((100, 400)) < 0.1)
    assert sum(bool(phrases) for phrases in named) <= 10
    assert describe_by_phrases(texts, np.zeros((1, len(texts)), dtype=bool)) == [[]]
    assert describe_by_phrases(["a"], np.ones((2, 1), dtype=bool)) == [[], []]


def test_units_do_not_matter_to_each_other(texts):
    both = np.stack([firing(texts, "battery"), firing(texts, "soup")])
    assert describe_by_phrases(texts, both) == [describe_by_phrases(texts, row[None])[0] for row in both]
