from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from saywell.describers.descriptors.candidates import extract_candidates
from saywell.describers.descriptors.tables import CANDIDATES
from saywell.describers.phrases import PhraseCounts, log_odds_z, topic_labels

TOPICS = {
    "battery": ["battery life", "charger cable", "power bank"],
    "food": ["cold soup", "rude waiter", "pasta sauce"],
    "room": ["dirty carpet", "noisy corridor", "soft pillow"],
    "film": ["plot twist", "lead actor", "opening scene"],
}
FILLERS = ["the", "was", "and", "it", "very", "we", "had", "quite", "really", "some", "with"]


def corpus(count=240, seed=0):
    """Sentences of four topics, with vectors near one of four axes."""
    chooser, noise = random.Random(seed), np.random.default_rng(seed)
    texts: list[str] = []
    topics: list[int] = []
    while len(texts) < count:
        topic = chooser.randrange(4)
        said = chooser.sample(list(TOPICS.values())[topic], 2)
        middle = " ".join(chooser.choices(FILLERS, k=4))
        text = f"{said[0]} {middle} {said[1]} {' '.join(chooser.choices(FILLERS, k=3))}"
        if text not in texts:
            texts.append(text)
            topics.append(topic)
    vectors = np.eye(4)[topics] + 0.4 * noise.standard_normal((count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [f"e{n}" for n in range(count)], texts, vectors.astype(np.float32)


def test_candidates_are_said_by_their_sentence_and_typical():
    ids, texts, vectors = corpus()
    table = CANDIDATES.check(extract_candidates(ids, texts, vectors))
    by_id = dict(zip(ids, texts, strict=True))
    assert table.height > 200
    for example, rank, text, score in table.iter_rows():
        assert text in by_id[example] and score >= 2.0 and 0 <= rank < 3
    wanted = {phrase for found in TOPICS.values() for phrase in found}
    # Both words are always said together, and the phrase is preferred to either.
    assert set(table["text"]) == wanted
    ranked = table.sort("example", "rank").group_by("example", maintain_order=True)
    assert all(frame["score"].is_sorted(descending=True) for _, frame in ranked)


def test_scores_are_those_of_the_topic():
    ids, texts, vectors = corpus()
    # In the alphabet's order, where `topic_labels` gives the same topics.
    order = sorted(range(len(texts)), key=texts.__getitem__)
    ids, texts, vectors = [ids[n] for n in order], [texts[n] for n in order], vectors[order]
    counts = PhraseCounts(texts, min_sentences=3)
    topics = topic_labels(vectors, 0)
    per_topic = np.zeros((topics.max() + 1, len(counts.keys)))
    for row, topic in enumerate(topics):
        per_topic[topic] += counts.matrix[row].toarray()[0]
    z = log_odds_z(per_topic)
    table = extract_candidates(ids, texts, vectors, per_sentence=2, min_z=0.5)
    assert table.height and table["rank"].max() <= 1
    for example, _, text, score in table.iter_rows():
        column = counts.wordings.index(text)
        assert np.isclose(score, z[topics[ids.index(example)], column])


def test_no_candidate_of_a_sentence_is_part_of_another():
    table = extract_candidates(*corpus())
    for _, frame in table.group_by("example"):
        found = frame["text"].to_list()
        assert not any(f" {a} " in f" {b} " for a in found for b in found if a != b)


def test_deterministic():
    assert extract_candidates(*corpus()).equals(extract_candidates(*corpus()))


def test_the_order_of_sentences_does_not_matter():
    ids, texts, vectors = corpus(seed=3)
    first = extract_candidates(ids, texts, vectors).sort("example", "rank")
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(ids))
        other = extract_candidates([ids[n] for n in order], [texts[n] for n in order], vectors[order])
        assert other.sort("example", "rank").equals(first)


def test_rare_phrases_are_no_candidates():
    ids, texts, vectors = corpus()
    texts[0] = "purple elephant " + texts[0]
    found = extract_candidates(ids, texts, vectors, min_z=-100.0, per_sentence=50)
    assert not found.filter(pl.col("text").str.contains("elephant")).height
    found = extract_candidates(ids, texts, vectors, min_z=-100.0, per_sentence=50, min_sentences=1)
    assert found.filter(pl.col("text").str.contains("elephant"))["example"].unique().to_list() == ["e0"]


def test_few_or_no_sentences_give_no_candidates():
    for count in range(4):
        table = extract_candidates(
            [str(n) for n in range(count)], ["battery life"] * count, np.eye(4, dtype=np.float32)[:count]
        )
        assert CANDIDATES.check(table).height == 0


@pytest.mark.parametrize("name", ["restaurants", "amazon_reviews"])
def test_a_few_hundred_real_sentences_have_descriptors(shared, name):
    from saywell.data.texts import load_texts
    from saywell.describers.descriptors.merging import merge_candidates
    from saywell.encoders.sentence import open_sentence_encoder

    encoder = open_sentence_encoder("minilm")
    data = load_texts(shared / "data" / f"{name}.parquet", limit=300)
    seen = data.table.filter(part="describe")
    found = extract_candidates(seen["id"].to_list(), seen["text"].to_list(), encoder(seen["text"].to_list()))
    texts = merge_candidates(found, encoder).table["text"].to_list()
    expected = {"restaurants": {"restaurant", "sushi"}, "amazon_reviews": {"movie", "battery"}}
    assert len(texts) >= 8 and expected[name] <= set(texts)


def test_the_prior_of_a_large_corpus_stays_as_it_is(monkeypatch):
    """Only where hardly a sentence has a typical phrase is the prior weakened."""
    import saywell.describers.descriptors.candidates as module

    asked = []
    monkeypatch.setattr(
        module, "log_odds_z", lambda counts, *prior: asked.append(prior) or np.full(counts.shape, 9.0)
    )
    texts = [f"the {('battery', 'soup', 'bed')[n % 3]} again" for n in range(30)]
    extract_candidates([str(n) for n in range(30)], texts, np.eye(30))
    assert asked == [()]
