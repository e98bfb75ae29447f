"""Phrases that texts are about: which are names, which are joined, and where thresholds may lie."""

from __future__ import annotations

import numpy as np
import pytest

from saywell.claims.corpus import Corpus
from saywell.claims.english import english
from saywell.claims.kinds import leaning
from saywell.claims.search import shrunk_f1
from saywell.claims.topics import GAIN, MOST, MOST_SHARE, NEARLY, Topics, are_names, best_thresholds

KNOWN = np.ones(200, dtype=bool)


def test_names_stand_where_nouns_do():
    texts = [
        "They clean the room of my sister.",
        "We clean a large room with care!",
        "He said: the Berlin office, and Berlin is large.",
        "A large clean floor room is in the Berlin office",
    ]
    phrases = [
        "clean",
        "large",
        "room",
        "care",
        "Berlin",
        "large room",
        "berlin office",
        "unsaid",
        "Berlin is",
    ]
    names = are_names(Corpus.of(texts), phrases)
    assert [phrase for phrase, name in zip(phrases, names, strict=True) if name] == phrases[2:7]


def graded(places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """High at some places, low elsewhere."""
    return np.where(np.isin(np.arange(200), places), 0.5, 0.1) + 0.01 * random.random(200)


def test_phrases_are_joined_as_long_as_each_adds_and_names_are_preferred():
    random = np.random.default_rng(0)
    fires = np.arange(200) < 42
    parts = np.split(np.arange(42), 7)
    cosines = np.array([*(graded(part, random) for part in parts), graded(np.arange(100, 106), random)])
    phrases = [f"p{n}" for n in range(8)]
    found = Topics(phrases, cosines, cosines, np.ones(8, dtype=bool)).claims(fires, KNOWN)
    heads = [claim.atoms[0].conditions[0] for claim in found]
    joined = [head.values[:-1] for head in heads if head.name == "like"]
    assert max(map(len, joined)) == MOST and all("p7" not in own for own in joined)
    assert GAIN > NEARLY > 0
    twins = np.array([cosines[0], cosines[0] + 1e-4])
    for names, first in (([False, True], "p1"), ([True, False], "p0"), ([False, False], "p0")):
        claims = Topics(phrases[:2], twins, twins, np.array(names)).claims(fires, KNOWN)
        assert claims[0].atoms[0].conditions[0].values[0] == first


@pytest.mark.parametrize("fired", [20, 90])
def test_no_topic_is_of_most_texts_where_fewer_fire(fired):
    random = np.random.default_rng(fired)
    fires = np.arange(200) < fired
    cosines = 0.05 * random.random((4, 200))
    claims = Topics(list("abcd"), cosines, cosines, np.zeros(4, dtype=bool)).claims(fires, KNOWN)
    most = max(MOST_SHARE, 1.5 * fired / 200)
    for claim in claims:
        *said, least = claim.atoms[0].conditions[0].values
        held = cosines[["abcd".index(one) for one in said]].max(0)
        assert (held >= least + 0.001).mean() <= most


def test_texts_that_say_a_phrase_mention_it():
    fires = np.arange(200) < 30
    cosines = np.where(fires, 1.0, 0.2)[None]
    for of_texts, said in ((True, 'about("soup")'), (False, 'like("soup", 1)')):
        claims = Topics(["soup"], cosines, cosines, np.ones(1, dtype=bool), of_texts).claims(fires, KNOWN)
        assert [str(claim) for claim in claims] == [said]


def test_a_leaning_is_towards_some_names_and_against_others():
    """Neither of two phrases tells apart what their difference does; only names are said."""
    random = np.random.default_rng(1)
    fires = np.arange(200) < 60
    shared = random.normal(0, 0.2, 200)
    towards, against = shared + 0.1 * fires, shared + 0.01 * random.normal(size=200)
    cosines = np.array([towards, against, towards + 0.05 * fires, 0.01 * random.normal(size=200)])
    names = np.array([True, True, False, True])
    claims = Topics(["tea", "drinks", "not a name", "rest"], cosines, cosines, names).claims(fires, KNOWN)
    leanings = [claim for claim in claims if claim.atoms[0].conditions[0].name == "toward"]
    assert all("not a name" not in str(claim) for claim in leanings)
    condition = leanings[0].atoms[0].conditions[0]
    count, *said, least = condition.values
    assert (count, said) == (1, ["tea", "drinks"])
    held = leaning(cosines[[0, 1]], condition) >= least
    assert 2 * (held & fires).sum() / (held.sum() + fires.sum()) > 0.95
    likes = [claim for claim in claims if claim.atoms[0].conditions[0].name == "like"]
    assert likes and english(leanings[0]) == 'texts closer in meaning to "tea" than to "drinks"'


def test_texts_that_are_equally_near_are_all_within_or_none():
    """The figure of a threshold is that of what it holds of, and their order decides nothing."""
    random = np.random.default_rng(3)
    for _ in range(40):
        values = random.integers(0, 5, (3, 30)) / 5
        fires = random.random(30) < 0.4
        scores, least = best_thresholds(values, fires, shrunk_f1)
        most = max(int(1.5 * fires.sum()), 15)
        for row, score, at in zip(values, scores, least, strict=True):
            able = [row >= border for border in set(row) if (row >= border).sum() <= most]
            tried = [shrunk_f1((held & fires).sum(), held.sum(), fires.sum(), 30) for held in able]
            assert score == pytest.approx(max(tried, default=-np.inf))
            held = row >= at
            assert not tried or score == pytest.approx(
                shrunk_f1((held & fires).sum(), held.sum(), fires.sum(), 30)
            )
    assert best_thresholds(np.ones((1, 30)), fires, shrunk_f1)[0] == -np.inf
    cosines = np.ones((2, 30))
    assert not Topics(["tea", "ale"], cosines, cosines, np.ones(2, dtype=bool)).claims(fires, fires | True)
