"""Taggers: the tables that they leave, and the tags that examples have from them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.data.examples import EXAMPLES
from saywell.describers.descriptors.nearness import HOLDS_FROM, cosines, holding, nearness
from saywell.describers.descriptors.tables import DESCRIPTORS, TAGS, stored_tags
from saywell.describers.descriptors.taggers import (
    ExtractiveTags,
    GoldTags,
    LLMTags,
    PhraseTags,
    need_descriptors,
)
from saywell.errors import InputError
from saywell.resources import Resources
from saywell.store.study import write_study

PLACES = {word: n for n, word in enumerate("soup battery room waiter charger bed".split())}


class WordEncoder:
    """Counts words."""

    name = "words"
    asked = 0

    def __call__(self, texts):
        self.asked += len(texts)
        vectors = np.full((len(texts), len(PLACES) + 1), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, PLACES.get(word, -1)] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def study(tmp_path):
    with write_study(tmp_path / "s", kind="score", config={}, inputs={}) as study:
        study.table(EXAMPLES, lambda: pl.DataFrame({"id": ["x"], "part": ["score"], "row": [0]}))
        yield study


@pytest.fixture
def examples(make_examples):
    """Of three topics; what is scored on has a topic of its own."""
    pairs = [("soup", "waiter"), ("battery", "charger"), ("room", "bed")]
    texts = [f"{' '.join(pairs[n % 3])} again {n}" for n in range(120)] + [f"ferry {n}" for n in range(30)]
    part = ["describe"] * 90 + ["select"] * 30 + ["score"] * 30
    tags = [[pairs[n % 3][0], "any"] if n % 5 else None for n in range(150)]
    return make_examples(texts, part, tags=tags)


def test_gold_tags(examples, study):
    tagged = GoldTags().tag(examples, Resources(), study)
    assert tagged.tags.texts[0] == "any" and set(tagged.tags.texts) == {"any", "soup", "battery", "room"}
    column = tagged.tags.texts.index("soup")
    expected = ["soup" in (names or ()) for names in examples.table["tags"].to_list()]
    assert tagged.tags.matrix[:, column].toarray().ravel().tolist() == expected
    assert tagged.tags.known.all() and tagged.tags.tagger == "gold tags"
    need_descriptors(tagged.tags, examples)


def test_extractive_tags_come_of_describe_texts_alone(examples, study):
    encoder = WordEncoder()
    resources = Resources(encoder=encoder, study=study)
    tagged = ExtractiveTags().tag(examples, resources, study)
    assert "ferry" not in tagged.tags.texts and len(tagged.tags.texts) >= 3
    soup = next(n for n, text in enumerate(tagged.tags.texts) if "soup" in text)
    expected = ["soup" in text for text in examples.texts]
    assert (tagged.tags.matrix[:, soup].toarray().ravel() > 0).tolist() == expected
    lexical = stored_tags(study, examples.ids, ("lexical",))
    assert lexical.matrix.nnz <= tagged.tags.matrix.nnz and lexical.ids == tagged.tags.ids
    asked = encoder.asked
    part = tagged.only(examples.parts.select)
    np.testing.assert_array_equal(resources.vectors(part), resources.vectors(examples)[90:120])
    resources = Resources(encoder=encoder, study=study)  # which has to read what is stored
    assert resources.vectors(part).shape[0] == 30 and encoder.asked == asked  # from the study


def test_too_few_descriptors_are_none_and_may_be_refused(make_examples, study):
    examples = make_examples([f"soup {n}" for n in range(9)])
    tagged = ExtractiveTags().tag(examples, Resources(encoder=WordEncoder()), study)
    assert tagged.tags.matrix.shape == (9, 0) and study.table(DESCRIPTORS).height == 0
    with pytest.raises(InputError, match=r"among the 9 texts.*--llm.*--tags COLUMN"):
        need_descriptors(tagged.tags, examples)
    with pytest.raises(InputError, match="'llm descriptors' needs a language model"):
        LLMTags().tag(examples, Resources(), study)


def test_phrases_hold_of_what_is_nearer_than_most(examples, study):
    tagger = PhraseTags(["soup waiter", "bed", "bed", "ferry"])
    tagged = tagger.tag(examples, Resources(encoder=WordEncoder(), study=study), study)
    assert tagged.tags.texts == ("soup waiter", "bed", "ferry")
    soup = tagged.tags.matrix[:, 0].toarray().ravel() > 0
    assert soup.tolist() == ["soup" in text for text in examples.texts]
    assert study.table(DESCRIPTORS)["mentions"].to_list()[:2] == [30, 30]
    scores = study.table(TAGS)
    assert (scores["score"] >= HOLDS_FROM).all() and set(scores["source"]) == {"encoder"}
    again = tagger.tag(examples, Resources(encoder=WordEncoder(), study=study), study)
    assert (again.tags.matrix != tagged.tags.matrix).nnz == 0


def test_nearness_has_no_unit_and_knows_describe_examples_alone():
    random = np.random.default_rng(0)
    found = random.normal(size=(50, 4))
    known = np.arange(20)
    near = nearness(found, known)
    np.testing.assert_allclose(nearness(5 * found - 1, known), near, atol=1e-9)
    np.testing.assert_allclose(near[:20], (found[:20] - found[:20].mean(0)) / found[:20].std(0))
    np.testing.assert_allclose(nearness(np.full((50, 4), 0.3), known), 0.0, atol=1e-6)
    vectors, phrases = random.normal(size=(30, 8)), random.normal(size=(300, 8))
    held, every = holding(vectors, phrases, np.arange(30)), nearness(vectors @ phrases.T, np.arange(30))
    np.testing.assert_allclose(held.toarray(), np.where(every >= HOLDS_FROM, every, 0.0), atol=1e-9)
    assert [block.stop for block, _ in cosines(vectors, phrases)] == [256, 300]
    assert holding(vectors, phrases[:0], np.arange(30)).shape == (30, 0)
