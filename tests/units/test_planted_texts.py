from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.texts import load_texts
from saywell.resources import Resources
from saywell.units.planted.rules import FLIPPED, MIN_FIRES, NOISE
from saywell.units.planted.texts import plant_units

OF_TOKENS = ("place in sentence",)
"""Of the kinds of planted.tokens those that such texts have something for."""
TOPICS = "battery soup room ferry jacket camera".split()


@pytest.fixture(scope="module")
def corpus():
    """900 texts with a topic, half of them glad, a fifth about nothing."""
    chooser = random.Random(3)
    texts, tags = [], []
    while len(texts) < 900:
        topic = chooser.choice([*TOPICS, None])
        tone = chooser.choice(["praise", "complaint", None])
        words = [w for w in (topic, {"praise": "lovely", "complaint": "awful"}.get(tone)) if w]
        stems = chooser.choices("bcdfghjklmnprstvwz", k=chooser.randint(1, 4))
        words += [stem + chooser.choice(["ooming", "ollow", "irness"]) for stem in stems]
        chooser.shuffle(words)
        text = " ".join(words)
        if text not in texts:
            texts.append(text)
            tags.append([t for t in (topic, tone) if t])
    return texts, tags


@pytest.fixture(scope="module")
def units(corpus):
    return plant_units(*corpus, per_kind=3, noise_units=10)


def holds(corpus, word):
    return np.array([word in text.split() for text in corpus[0]])


def of(units, kind):
    return [unit for unit in units if unit.kind == kind]


def test_every_kind_is_asked(units):
    kinds = {unit.kind for unit in units}
    assert kinds == {
        "topic",
        "word",
        "suffix",
        "tone",
        "position",
        "conjunction",
        "disjunction",
        "negation",
        "two meanings",
        "corrupted region",
        "noisy",
        *OF_TOKENS,
        NOISE,
    }
    assert all(1 <= len(of(units, kind)) <= 3 for kind in kinds - {NOISE})
    # Kinds of tokens come after those that were there before them.
    first = [unit.kind in OF_TOKENS for unit in units].index(True)
    assert {unit.kind for unit in units[first:]} == {*OF_TOKENS, NOISE}
    assert len(of(units, NOISE)) == 10 and len({unit.id for unit in units}) == len(units)


def test_truths_say_what_the_rules_do(units, corpus):
    texts = corpus[0]
    for unit in units:
        if unit.kind in ("topic", "word", "noisy", "corrupted region"):
            expected = holds(corpus, unit.truth)
        elif unit.kind == "suffix":
            ending = unit.truth.split('"')[1]
            expected = np.array([any(w.endswith(ending) for w in t.split()) for t in texts])
        elif unit.kind == "position":
            place = 0 if unit.truth.startswith("begins") else -1
            expected = np.array([t.split()[place] == unit.truth.split('"')[1] for t in texts])
        elif unit.kind == "conjunction":
            tone, topic = unit.truth.split(" about ")
            expected = holds(corpus, topic) & holds(corpus, {"praise": "lovely"}.get(tone, "awful"))
        elif unit.kind == "negation":
            topic, tone = unit.truth.split(" without ")
            expected = holds(corpus, topic) & ~holds(corpus, {"praise": "lovely"}.get(tone, "awful"))
        elif unit.kind in ("disjunction", "two meanings"):
            a, b = unit.truth.split(", ")
            expected = holds(corpus, a) | holds(corpus, b)
        else:
            continue
        np.testing.assert_array_equal(unit.rule, expected, err_msg=unit.id)
        assert unit.rule.sum() >= MIN_FIRES


def test_claims_say_what_the_rules_do(units, corpus):
    examples = load_texts(pl.DataFrame({"text": corpus[0]}))
    held = Executor(Ground(examples, Resources()))
    rows = [corpus[0].index(text) for text in examples.texts]
    for unit in units:
        assert bool(unit.claim) == (unit.kind in ("word", "suffix", "position", *OF_TOKENS)), unit.id
        if unit.claim:
            np.testing.assert_array_equal(held(parse(unit.claim)).examples, unit.rule[rows], unit.id)


def test_units_fire_where_their_rule_holds(units):
    for unit in units:
        if unit.kind in ("noisy", "corrupted region", NOISE):
            continue
        wrong = (unit.fires != unit.rule).mean()
        assert wrong < 0.01, unit.id


def test_what_is_corrupted_is_corrupted_as_much_as_said(units, corpus):
    for unit in of(units, "noisy"):
        kept = unit.fires[unit.rule].mean()
        assert abs(kept - (1 - FLIPPED)) < 0.12
        assert abs(unit.fires.mean() - unit.rule.mean()) < 0.04
    lengths = np.array([len(text) for text in corpus[0]])
    long = lengths > np.median(lengths)
    for unit in of(units, "corrupted region"):
        assert (unit.fires == unit.rule)[~long].mean() > 0.99
        rate = unit.fires[long & unit.rule].mean()
        assert rate < 0.5  # by chance, as often as anywhere else
        assert abs(unit.fires[long].mean() - unit.rule.mean()) < 0.06


def test_two_meanings_differ_in_strength(units, corpus):
    for unit in of(units, "two meanings"):
        a, b = (holds(corpus, name) for name in unit.truth.split(", "))
        assert unit.response[a].mean() > 1.3 > 1.15 > unit.response[b & ~a].mean()


def test_noise_has_no_truth_and_fires_at_many_rates(units):
    rates = [unit.fires.mean() for unit in of(units, NOISE)]
    assert min(rates) < 0.06 and max(rates) > 0.15
    assert all(unit.truth == "" and not unit.rule.any() for unit in of(units, NOISE))


def test_the_order_of_texts_does_not_matter(corpus, units):
    texts, tags = corpus
    back = plant_units(texts[::-1], tags[::-1], per_kind=3, noise_units=10)
    for a, b in zip(units, back, strict=True):
        assert (a.id, a.truth) == (b.id, b.truth)
        np.testing.assert_array_equal(a.response, b.response[::-1])
    other = plant_units(texts, tags, per_kind=3, noise_units=10, seed=1)
    assert not np.array_equal(units[-1].response, other[-1].response)


def test_without_tags_only_words_are_asked_about(corpus):
    texts = corpus[0]
    kinds = {unit.kind for unit in plant_units(texts, [None] * len(texts), noise_units=0)}
    assert kinds == {"word", "suffix", "position", *OF_TOKENS}
    assert plant_units([], [], noise_units=0) == []
