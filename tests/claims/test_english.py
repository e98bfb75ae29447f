"""What claims say in plain English."""

from __future__ import annotations

import pytest

from saywell.claims.english import english, footnotes, price
from saywell.claims.kinds import KINDS, check
from saywell.claims.language import parse
from saywell.claims.pictures import SAYINGS

SAID = {
    'form("phone")': 'the word "phone" in any form',
    'word("off") & after(form("turn"))': 'the word "off" after any form of "turn"',
    'word("off", "on") & after(word("turn"))': 'the word "off" or "on", after "turn"',
    'phrase("turn off") & place("sentence-first")': 'the phrase "turn off" at the start of a sentence',
    'mark("?", "§")': 'question marks or the sign "§"',
    'piece("sh")': 'words containing "sh"',
    'suffix("ing")': 'words ending in "-ing"',
    'class("number") & place("first")': "numbers at the start of the text",
    'place("first")': "the first word of the text",
    'word("still") & place("first")': 'the word "still" as the first word of the text',
    "repeated() & letters(8)": "words of 8 letters or more said before in the same text",
    'after(class("number"))': "words and signs after a number",
    'word("no") & before(mark("?", "."))': 'the word "no" before a question mark or a full stop',
    'suffix("ly") & near(place("first"))': 'words ending in "-ly" near the first word of the text',
    'earlier(word("not"))': 'words and signs anywhere after "not"',
    'word("off") & after(after(word("turn")))': 'the word "off" two places after "turn"',
    'about("refund", "cancelled order")': 'texts that mention "refund" or "cancelled order"',
    'like("slow service", 0.41)': "texts about slow service",
    'feels("negative")': "texts with a negative tone",
    "long(30)": "texts of 30 words or more",
    "long(1, 8)": "texts of at most 8 words",
    'tagged("d12")': 'texts tagged "cold soup"',
    'about("refund") and mark("?")': 'question marks, in texts that mention "refund"',
    'mark("?") and not word("how")': 'question marks, but not in texts with the word "how"',
    'like("tea", 0.4) and not feels("negative")': "texts about tea, but not those with a negative tone",
    'mark("?") or word("maybe")': 'question marks, or the word "maybe"',
    'mark("?") and about("tea") or word("so")': 'question marks, in texts that mention "tea"; or the word "so"',
}


@pytest.mark.parametrize("claim", SAID)
def test_a_claim_reads_as_a_person_would_say_it(claim):
    check(parse(claim))
    assert english(parse(claim), names={"d12": "cold soup"}) == SAID[claim]


def test_examples_are_called_what_they_are():
    claim = parse('like("red car", 0.3)')
    assert english(claim, "image") == 'pictures that match "red car"'
    assert english(parse("long(3)"), "pair") == "pairs of 3 words or more"


@pytest.mark.parametrize("name", KINDS)
def test_every_condition_has_english_a_price_and_a_line_here(name):
    mentioned = [claim for claim in SAID if f"{name}(" in claim]
    assert mentioned or name in ("prefix", "count", *SAYINGS)
    for claim in map(parse, mentioned):
        assert price(claim.clauses[0][0]) > 0 and all(footnotes(claim))
