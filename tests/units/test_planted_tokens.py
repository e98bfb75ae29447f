from __future__ import annotations

import re
from importlib.resources import files
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.kinds import check
from saywell.claims.language import parse
from saywell.data.texts import load_texts
from saywell.resources import Resources
from saywell.units.planted.rules import MIN_FIRES, PlantedUnit, units_of_rules
from saywell.units.planted.tokens import ELSEWHERE, SIGNS, rules_of_tokens


@pytest.fixture(scope="module")
def examples():
    """Two sentences of the demo in each, some beside numbers, brackets and words in capitals."""
    table = pl.read_csv(files("saywell.data") / "demo" / "sentences.tsv", separator="\t", quote_char=None)
    sentences = table["text"].to_list()[:1800]
    ends = ("", " (No. 12)", " at 10:30", ' said "no"', " THE END: 1,250", "\nand so on")
    pairs = zip(sentences[::2], sentences[1::2], strict=True)
    texts = [f"{a} {b}{ends[n % len(ends)]}" for n, (a, b) in enumerate(pairs)]
    return load_texts(pl.DataFrame({"text": texts}))


@pytest.fixture(scope="module")
def rules(examples):
    texts = examples.texts
    found = {
        kind: [rule for rule in own if rule.holds.sum() >= MIN_FIRES]
        for kind, own in rules_of_tokens(texts).items()
    }
    assert set(found) == {
        "piece",
        "punctuation",
        "word in context",
        "place in sentence",
        "number",
        "capitals",
    }
    return found


def test_a_rule_holds_where_its_pattern_and_its_claim_do(rules, examples):
    texts = examples.texts
    executor = Executor(Ground(examples, Resources()))
    for kind, own in rules.items():
        assert own, kind
        for rule in own[:: max(1, len(own) // 12)]:
            unit = PlantedUnit("u", kind, rule.truth, rule.holds, rule.holds * 1.0, pattern=rule.pattern)
            spans = [unit.span(text) for text in texts]
            np.testing.assert_array_equal([start is not None for start, _ in spans], rule.holds, rule.truth)
            claim = parse(rule.claim)
            check(claim)
            assert str(claim) == rule.claim
            held = executor(claim)
            np.testing.assert_array_equal(held.examples, rule.holds, rule.truth)
            assert held.tokens is not None
            for row in np.flatnonzero(rule.holds)[:40]:
                start, end = spans[row]
                pointed = executor.ground.corpus.spans_of(held.tokens, int(row))
                assert start is not None and end is not None
                assert any(a < end and start < b for a, b in pointed), (rule.claim, texts[row])


def test_a_plain_loop_agrees(rules, examples):
    texts = examples.texts

    def holds(kind, truth, text):
        said = re.findall(r"'s\b|[a-z]+(?:'(?!s\b)[a-z]+)*|\d+(?:[.,:]\d+)*|[^\w\s]", text.lower())
        first, *more = re.findall(r'"(.*?)"', truth) or [""]
        if kind == "piece":
            return any(first in token for token in said)
        if kind == "punctuation":
            return any(sign in said for sign in SIGNS[truth])
        near = pairwise(said)
        if more and "possessive" not in truth:
            pair = (more[0], first) if " after " in truth else (first, more[0])
            return pair in near
        if "comma" in truth:
            return ((",", first) if " after " in truth else (first, ",")) in near
        if "among" in truth:
            return first in [token for token in said if token[0].isalnum()][:3]
        if "of a sentence" in truth:
            parts = [
                re.findall(r"[a-z]+(?:'(?!s\b)[a-z]+)*|\d+", s) for s in re.split(r"[.!?\n]", text.lower())
            ]
            place = 0 if "first" in truth else -1
            return any(part and part[place] == first for part in parts)
        if "digit" in truth and "of " in truth:
            return any(token.isdigit() and len(token) == (1 if "one" in truth else 2) for token in said)
        return None

    asked = 0
    for kind, own in rules.items():
        for rule in own[:: max(1, len(own) // 8)]:
            plain = [holds(kind, rule.truth, text) for text in texts]
            if None not in plain:
                np.testing.assert_array_equal(plain, rule.holds, f"{kind}: {rule.truth}")
                asked += 1
    assert asked > 25


def test_a_context_says_more_than_its_word(rules, examples):
    def said(word):
        whole = rf"\b{re.escape(word)}\b"
        return sum(re.search(whole, text, re.IGNORECASE) is not None for text in examples.texts)

    for rule in rules["word in context"] + rules["place in sentence"]:
        _, word, _, *other = rule.truth.split('"')
        assert rule.holds.sum() <= (1 - ELSEWHERE) * said(word), rule.truth
        if other and "possessive" not in rule.truth:
            assert said(word) <= said(other[0]), rule.truth  # the rarer word is the one in a context
    places = {rule.truth.rsplit('"', 1)[1] for rule in rules["place in sentence"]}
    assert places == {
        " as the first of a sentence",
        " as the last of a sentence",
        " among the first three words",
    }


def test_signs_inside_numbers_and_possessives_are_none():
    texts = [f"in 1,0{n:02} cats the dog's 3:15 bowl" for n in range(50)] + ["so, no"] * 50
    found = {rule.truth: rule for kind in rules_of_tokens(texts).values() for rule in kind}
    np.testing.assert_array_equal(found["commas"].holds, [False] * 50 + [True] * 50)
    assert "colons" not in found
    assert 'the word "bowl" after a number' not in found  # it never stands elsewhere


def test_units_carry_the_claims_of_their_rules_and_are_drawn_by_the_seed(rules, examples):
    drawn = [
        units_of_rules(
            examples.ids,
            {"piece": rules["piece"]},
            np.ones(len(examples), dtype=bool),
            per_kind=3,
            noise_units=1,
            seed=seed,
        )
        for seed in (0, 1)
    ]
    for units in drawn:
        assert [unit.claim for unit in units] == [
            *(f'piece("{unit.truth.split(chr(34))[1]}")' for unit in units[:3]),
            "",
        ]
    assert drawn[0][0].claim != drawn[1][0].claim
