from __future__ import annotations

import math
import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.describers.phrases import (
    PhraseCounts,
    log_odds_z,
    phrase_matrix,
    phrases,
    singular,
    topic_labels,
    words_and_punctuation,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The battery life is short.", ["battery", "battery life", "life", "short"]),
        ("battery, life", ["battery", "life"]),  # no phrase crosses a comma,
        ("battery – life", ["battery", "life"]),  # a dash,
        ("battery - life", ["battery", "life"]),
        ("battery/life", ["battery", "life"]),
        ("battery (life)", ["battery", "life"]),
        ("battery. Life", ["battery", "life"]),
        ("quality of life", ["quality", "quality of life", "life"]),
        ("battery of", ["battery"]),  # none ends with a function word
        ("battery was life", ["battery", "life"]),  # nor holds one but of, for, to, ...
        (
            "battery life charger cable",
            [
                "battery",
                "battery life",
                "battery life charger",
                "life",
                "life charger",
                "life charger cable",
                "charger",
                "charger cable",
                "cable",
            ],
        ),
        ("TV is ok", []),  # two letters are too short
        ("the and of", []),
        ("", []),
        ("  !?  ", []),
        ("wi-fi signal", ["wi-fi", "wi-fi signal", "signal"]),
        ("don’t panic", ["panic"]),
        ("the waiter’s attitude", ["waiter's", "waiter's attitude", "attitude"]),
        ("l'été à la plage", ["l'été", "plage"]),
        (
            "Ärger mit Übergröße",
            ["ärger", "ärger mit", "ärger mit übergröße", "mit", "mit übergröße", "übergröße"],
        ),
        ("İstanbul", ["i̇stanbul"]),
        ("<script>alert</script>", ["script", "alert", "script"]),
        ("लम्बी घास की खुशबू।", ["लम्बी", "लम्बी घास", "घास", "खुशबू"]),  # Hindi, whole
        ("明天下雨和台风", ["明天", "明天 下雨", "下雨", "台风"]),
        ("서울 날씨", ["서울", "서울 날씨", "날씨"]),
        ("ตลาดน้ำ, เก่า", ["ตลาด", "ตลาด น้ำ", "น้ำ", "เก่า"]),
    ],
)
def test_phrases(text, expected):
    assert [wording for _, wording in phrases(text)] == expected


def test_accents_may_be_composed_or_not():
    plain = "café noir"
    assert phrases(unicodedata.normalize("NFD", plain)) == phrases(plain) != []


def test_curly_and_straight_apostrophes_are_one():
    assert words_and_punctuation("Don’t") == words_and_punctuation("don't") == ["don't"]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("screen", "screens"),
        ("battery", "batteries"),
        ("movie", "movies"),
        ("cookie", "cookies"),
        ("dish", "dishes"),
        ("watch", "watches"),
        ("headache", "headaches"),
        ("box", "boxes"),
        ("axe", "axes"),
        ("glass", "glasses"),
        ("pie", "pies"),
        ("shoe", "shoes"),
        ("house", "houses"),
    ],
)
def test_singular_and_plural_have_one_stem(one, many):
    assert singular(one) == singular(many)


@pytest.mark.parametrize("word", ["glass", "virus", "basis", "gas", "waiter's", "running", "charged"])
def test_stems_leave_the_rest_alone(word):
    assert singular(word) == word


@pytest.mark.parametrize(
    ("one", "other"), [("glass", "glance"), ("batter", "battery"), ("charge", "charger")]
)
def test_different_words_keep_different_stems(one, other):
    assert singular(one) != singular(other)


@given(st.text(max_size=60), st.integers(1, 4))
def test_phrases_of_any_text_are_short_and_clean(text, longest):
    for key, wording in phrases(text, longest):
        assert 1 <= len(wording.split()) <= longest
        assert len(key.split()) == len(wording.split())
        assert wording.split()[0][0].isalpha() and wording.split()[-1][0].isalpha()


def test_counts_are_of_sentences_and_the_commonest_wording_speaks():
    texts = ["the screens, the screens", "screens", "screen", "rude waiter", "rude waiter"] + ["the"] * 15
    counts = PhraseCounts(texts, min_sentences=2)
    assert counts.keys == ["rude", "rude waiter", "screen", "waiter"]
    assert counts.wordings == ["rude", "rude waiter", "screens", "waiter"]
    assert counts.matrix.toarray()[:5].tolist() == [
        [0, 0, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 0],
        [1, 1, 0, 1],
        [1, 1, 0, 1],
    ]
    assert PhraseCounts(texts, min_sentences=3).keys == ["screen"]


def test_phrases_that_everyone_says_are_left_out():
    texts = ["phone"] * 5 + ["soup"] * 4 + ["the"] * 11
    assert PhraseCounts(texts, min_sentences=2, max_share=0.2).keys == ["soup"]
    assert PhraseCounts(texts, min_sentences=2, max_share=0.25).keys == ["phone", "soup"]


def test_wordings_in_equally_many_sentences_go_by_the_alphabet():
    texts = ["screens", "screen", "the", "the"]
    for _ in range(3):
        random.Random(0).shuffle(texts)
        assert PhraseCounts(texts, min_sentences=2, max_share=1).wordings == ["screen"]


def test_no_texts_and_no_phrases():
    assert PhraseCounts([], min_sentences=1).matrix.shape == (0, 0)
    assert PhraseCounts(["the"], min_sentences=1).matrix.shape == (1, 0)
    assert phrase_matrix([{"a": "a"}], []).shape == (1, 0)


def test_log_odds_z_by_hand():
    # Monroe et al. 2008, equations 16, 19, 22: group i against the rest j, prior a of mass a0.
    counts = [[8.0, 1.0, 3.0], [2.0, 7.0, 5.0], [4.0, 4.0, 0.0]]
    strength = 10.0
    total = [sum(row[w] for row in counts) for w in range(3)]
    smooth = [t + 0.5 for t in total]
    prior = [strength * s / sum(smooth) for s in smooth]
    z = log_odds_z(np.array(counts), strength)
    for i, row in enumerate(counts):
        rest = [total[w] - row[w] for w in range(3)]
        for w in range(3):
            n_i, n_j, a = sum(row), sum(rest), prior[w]
            delta = math.log((row[w] + a) / (n_i + strength - row[w] - a)) - math.log(
                (rest[w] + a) / (n_j + strength - rest[w] - a)
            )
            variance = 1 / (row[w] + a) + 1 / (rest[w] + a)
            assert z[i, w] == pytest.approx(delta / math.sqrt(variance), rel=1e-9)
    assert z[0].argmax() == 0 and z[1].argmax() == 1


def test_log_odds_of_two_groups_are_opposite_and_of_equal_groups_zero():
    z = log_odds_z(np.array([[5.0, 1.0], [2.0, 9.0]]))
    assert np.allclose(z[0], -z[1]) and z[0, 0] > 0
    assert np.allclose(log_odds_z(np.array([[5.0, 1.0], [5.0, 1.0]])), 0)


@pytest.mark.parametrize("shape", [(2, 1), (1, 1), (2, 0), (1, 3)])
def test_log_odds_are_finite_whatever_the_shape(shape):
    z = log_odds_z(np.ones(shape))
    assert z.shape == shape and np.isfinite(z).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**31))
def test_topics_number_about_the_root_of_half(count, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    labels = topic_labels(vectors, 0)
    assert labels.shape == (count,)
    most = max(2, int(math.sqrt(count / 2)))
    assert len(set(labels.tolist())) <= most
    assert (labels == topic_labels(vectors, 0)).all()
