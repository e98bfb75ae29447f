from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.describers.descriptors.tables import TAGS
from saywell.describers.descriptors.tagging import (
    MIN_LEXICAL,
    drop_incoherent,
    find_prototypes,
    lexical_matrix,
    tag_sentences,
)


def descriptors(*members):
    return pl.DataFrame(
        {
            "id": [f"d{n}" for n in range(len(members))],
            "text": [found[0] for found in members],
            "members": [list(found) for found in members],
            "mentions": [3] * len(members),
        },
        schema={"id": pl.String, "text": pl.String, "members": pl.List(pl.String), "mentions": pl.Int64},
    )


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_lexical_tags_by_hand():
    table = descriptors(["battery life", "batteries"], ["screen"], ["fast customer support team"])
    texts = [
        "The battery life is short",  # the phrase
        "two batteries, one screen",  # another wording, in the plural, and a second descriptor
        "Screens everywhere; SCREEN!",  # said twice is said
        "battery, life",  # battery alone is a wording too
        "lives of others",
        "a fast customer support team helped",  # longer than candidates are
        "customer support",
        "",
    ]
    assert lexical_matrix(texts, table).toarray().tolist() == [
        [1, 0, 0],
        [1, 1, 0],
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_a_phrase_is_not_said_by_its_parts():
    table = descriptors(["battery life"])
    texts = ["battery", "life", "battery. Life", "battery lives", "battery-life"]
    assert lexical_matrix(texts, table).toarray().ravel().tolist() == [0, 0, 0, 0, 0]


def test_one_wording_may_belong_to_two_descriptors_and_one_have_none():
    found = lexical_matrix(["soup"], descriptors(["soup"], ["soups"], ["the"]))
    assert found.toarray().tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(("texts", "table"), [([], descriptors(["soup"])), (["soup"], descriptors())])
def test_no_texts_or_no_descriptors(texts, table):
    vectors = np.ones((len(texts), 2))
    assert lexical_matrix(texts, table).shape == (len(texts), len(table))
    everything = np.ones(len(texts), dtype=bool)
    assert TAGS.check(tag_sentences(["a"][: len(texts)], texts, vectors, table, everything)).height == 0
    assert drop_incoherent(table, vectors, texts).equals(table)


def planted(seed=0, count=60, saying=12):
    """`saying` sentences say soup and point one way; as many more mean it without the word."""
    random = np.random.default_rng(seed)
    vectors = 0.4 * random.standard_normal((count, 6))
    vectors[: 2 * saying, 0] += 1
    vectors[2 * saying :, 0] -= 1
    texts = ["hot soup"] * saying + ["hot meal"] * (count - saying)
    return texts, unit(vectors)


def loop_prototypes(vectors, said, calibration):
    """Similarity, threshold and coherence of one descriptor, one sentence at a time."""
    mean = np.mean([v for v, own in zip(vectors, calibration, strict=True) if own], axis=0)
    centred = [(v - mean) / np.linalg.norm(v - mean) for v in vectors]
    rows = [n for n in range(len(vectors)) if calibration[n] and said[n]]
    whole = sum(centred[n] for n in rows)
    similarity = np.array([v @ whole / np.linalg.norm(whole) for v in centred])
    own = []
    for n in rows:
        others = sum(centred[m] for m in rows if m != n)
        own.append(centred[n] @ others / np.linalg.norm(others))
    rest = [similarity[n] for n in range(len(vectors)) if calibration[n] and not said[n]]
    wins = [(o > r) + 0.5 * (o == r) for o in own for r in rest]
    return similarity, np.median(own), np.mean(wins)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(MIN_LEXICAL, 20))
def test_prototypes_as_a_plain_loop(seed, saying):
    random = np.random.default_rng(seed)
    vectors, calibration = unit(random.standard_normal((50, 5))), np.arange(50) < 40
    said = np.zeros(50)
    said[random.choice(40, saying, replace=False)] = said[45] = 1
    found = find_prototypes(vectors, sp.csr_matrix(said[:, None]), calibration)
    similarity, threshold, coherence = loop_prototypes(vectors, said, calibration)
    assert np.allclose(found.similarity[:, 0], similarity)
    assert found.threshold[0] == pytest.approx(threshold)
    assert found.coherence[0] == pytest.approx(coherence)


def test_a_sentence_does_not_vouch_for_itself():
    # Random directions: with itself in the sum every sentence would look close to its prototype.
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((300, 100)))
    said = sp.csr_matrix((np.arange(300) < 10).astype(float)[:, None])
    found = find_prototypes(vectors, said, np.ones(300, dtype=bool))
    assert abs(found.coherence[0] - 0.5) < 0.25 and abs(found.threshold[0]) < 0.15


def test_encoder_tags_are_at_or_above_the_threshold_and_lexical_tags_stay():
    texts, vectors = planted()
    table, ids = descriptors(["soup"]), [f"e{n}" for n in range(60)]
    calibration = np.arange(60) % 4 != 3
    tags = TAGS.check(tag_sentences(ids, texts, vectors, table, calibration))
    said = np.array(["soup" in text for text in texts])
    similarity, threshold, _ = loop_prototypes(vectors, said, calibration)
    encoder = tags.filter(source="encoder")
    assert set(encoder["example"]) == {ids[n] for n in np.flatnonzero(~said & (similarity >= threshold))}
    for example, score in encoder.select("example", "score").iter_rows():
        assert score == pytest.approx(similarity[ids.index(example)])
    assert encoder.height and encoder["example"].is_in([f"e{n}" for n in range(12, 24)]).all()
    lexical = tags.filter(source="lexical")
    assert set(lexical["example"]) == set(ids[:12]) and (lexical["score"] == 1).all()


def test_too_few_sayings_give_no_encoder_tags():
    texts, vectors = planted(saying=MIN_LEXICAL - 1)
    everything = np.ones(60, dtype=bool)
    ids = [str(n) for n in range(60)]
    tags = tag_sentences(ids, texts, vectors, descriptors(["soup"]), everything)
    assert tags["source"].unique().to_list() == ["lexical"] and tags.height == MIN_LEXICAL - 1


def test_without_calibration_only_wordings_count(recwarn):
    texts, vectors = planted()
    ids = [str(n) for n in range(60)]
    tags = tag_sentences(ids, texts, vectors, descriptors(["soup"]), np.zeros(60, dtype=bool))
    assert tags["source"].to_list() == ["lexical"] * 12 and not recwarn.list


def test_a_random_filler_is_dropped_and_a_topic_stays():
    texts, vectors = planted(count=200, saying=20)
    filler = np.random.default_rng(1).random(200) < 0.15
    texts = [text + " tuesday" if own else text for text, own in zip(texts, filler, strict=True)]
    table = descriptors(["soup"], ["tuesday"], ["unheard"])
    assert drop_incoherent(table, vectors, texts)["text"].to_list() == ["soup", "unheard"]


def test_what_everyone_says_cannot_be_judged_and_what_ties_is_chance():
    vectors = np.eye(10)
    assert drop_incoherent(descriptors(["soup"]), vectors, ["soup"] * 10).height == 1
    said = sp.csr_matrix((np.arange(20) < 8).astype(float)[:, None])
    found = find_prototypes(np.ones((20, 2)), said, np.ones(20, dtype=bool))
    assert found.coherence[0] == 0.5
