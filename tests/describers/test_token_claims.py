"""Claims about words, from activations at tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.at_tokens import evidence_at_tokens, without_places

from saywell.claims.corpus import Corpus
from saywell.claims.fired import fired_words
from saywell.describers import token_claims
from saywell.describers.claims import Claims, settle
from saywell.resources import Resources

WORDS = (
    "the a to of and she he played jumped needed painted walked garden window letter engine mirror open go see"
    " shed red wedding kitchen table"
).split()
RULES = {
    "ed": lambda word, before: word.endswith("ed") and len(word) > 4 and word != "needed",
    "after to": lambda word, before: before == "to",
    "mirror": lambda word, before: word == "mirror",
    "nothing": lambda word, before: False,
}


@pytest.fixture(scope="module")
def parts(make_examples):
    def part(seed):
        random = np.random.default_rng(seed)
        texts = [" ".join([*random.choice(WORDS, 14), f"{seed}x{n}"]) for n in range(260)]
        return evidence_at_tokens(make_examples(texts), list(RULES.values()))

    return part(1), part(2)


def described(parts):
    resources = Resources()
    return settle(Claims(topics=False).describe(parts[0], resources, None), *parts, resources)


def test_sentences_are_about_the_word_and_not_the_text(parts):
    said = described(parts)
    assert said[0].text == 'words ending in "-ed", but not "needed"'
    assert said[0].claim == 'suffix("ed") & except(word("needed"))'
    assert said[1].text == 'the word or sign after "to"'
    assert said[2].text == 'the word "mirror"'
    assert said[3].status == "no description: it has no exemplars" and not any(one.offers for one in said)


def test_a_sample_of_texts_finds_the_same(parts, monkeypatch):
    monkeypatch.setattr(token_claims, "MOST_LETTERS", 9_000)
    monkeypatch.setattr(token_claims, "TOGETHER", 2)
    drawn = list(token_claims.groups(parts[0], Resources()))
    assert [list(one.units) for one in drawn] == [[0, 1], [2, 3]]
    assert all(50 < one.common.sum() < len(one.rows) < 260 for one in drawn)
    fires, known, stand = drawn[1].firing("u2")
    corpus = drawn[1].ground.corpus
    usual = known & ~fires
    # Beside all that fire as many stand as there are, by what share of those that fire was seen.
    share = fires.sum() / len(parts[0].activations.fired("u2").rows)
    silent = len(Corpus.of(parts[0].examples.texts)) - len(parts[0].activations.fired("u2").rows)
    assert share < 1 and stand * usual.sum() / share == pytest.approx(silent, rel=0.1)
    assert np.array_equal(corpus.tokens_of(["mirror"]), fires)
    assert [one.claim for one in described(parts)][1:3] == ['after(word("to"))', 'word("mirror")']


def test_of_a_model_that_reads_no_capitals_none_is_said(make_examples):
    """Ids are those of words, or of words in small letters."""
    random, words = np.random.default_rng(3), [*WORDS, *(word.title() for word in WORDS[8:14])]
    texts = [" ".join([*random.choice(words, 12), f"x{n}"]) for n in range(200)]
    found = []
    for number in (lambda word: word, str.lower):
        own = evidence_at_tokens(make_examples(texts), [lambda word, _: word[0].isupper()], number=number)
        assert own.activations.sees_case(texts) == (number("A") == "A")
        found.append(token_claims.offers(own, Resources())[0].offers)
    assert any("capital" in claim for claim in found[0]) and not any("capital" in claim for claim in found[1])


def test_without_places_claims_are_about_texts(parts):
    blind = [without_places(one) for one in parts]
    assert parts[0].at_words and not blind[0].at_words
    assert described(blind)[2].claim == 'word("mirror")'


def test_pieces_and_white_space_belong_to_their_word():
    random = np.random.default_rng(0)
    texts = ["Don't go, Ann-Marie!", "", "  is 3.5 it?\n\nyes ", "…"]
    corpus = Corpus.of(texts)
    spans, rows = [], []
    for row, text in enumerate(texts):
        cuts = sorted({0, len(text), *random.integers(0, len(text) + 1, 6).tolist()})
        spans += list(pairwise(cuts))
        rows += [row] * (len(cuts) - 1)
    values = random.random(len(spans)).astype(np.float32)
    found = fired_words(corpus, np.array(rows), np.array(spans), values)
    best: dict[int, float] = {}
    beside = 0
    for row, (start, end), value in zip(rows, spans, values.tolist(), strict=True):
        own = [n for n in range(len(corpus)) if corpus.text[n] == row]
        inside = [n for n in own if corpus.start[n] < end and corpus.end[n] > start]
        ahead = [n for n in own if corpus.start[n] == end]
        at = inside[-1:] or ahead
        beside += not at
        for n in at:
            best[n] = max(best.get(n, 0), value)
    assert dict(zip(found.tokens.tolist(), found.values.tolist(), strict=True)) == pytest.approx(best)
    assert found.pieces == len(spans) and found.beside == beside
