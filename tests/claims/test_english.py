"""What claims say in plain English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saywell.claims.english import MARKS, english, footnotes, grown, price, quoted, singular
from saywell.claims.kinds import KINDS, check
from saywell.claims.language import parse
from saywell.claims.lexis import CLASSES
from saywell.claims.nouns import names_a_thing
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
    'after(class("number"))': "the word or sign after a number",
    'word("no") & before(mark("?", "."))': 'the word "no" before a question mark or a full stop',
    'suffix("ly") & near(place("first"))': 'words ending in "-ly" near the first word of the text',
    'earlier(word("not"))': 'everything after "not"',
    'near(word("tea"))': 'words and signs near "tea"',
    'suffix("ly") & earlier(word("not"))': 'words ending in "-ly" anywhere after "not"',
    'after(word("a")) & before(word("b")) & earlier(mark(","))': (
        'the word or sign after "a" and before "b" and anywhere after a comma'
    ),
    'word("was") & except(after(word("it")))': 'the word "was", but not after "it"',
    'suffix("ed") & except(word("needed"))': 'words ending in "-ed", but not "needed"',
    'word("left") & except(class("past"))': 'the word "left", but not as a verb in the past tense',
    'class("past") & except(suffix("ed")) and not about("x")': (
        'verbs in the past tense, but not those ending in "-ed", but not in texts that mention "x"'
    ),
    'except(mark(","))': "words and signs, but not a comma",
    'word("a") & after(except(word("x")))': 'the word "a" after a word or sign other than "x"',
    'word("off") & after(after(word("turn")))': 'the word "off" two places after "turn"',
    'about("refund", "cancelled order")': 'texts that mention "refund" or "cancelled order"',
    'like("slow service", 0.41)': "texts about slow service",
    'toward(1, "tea", "drinks", 0.05)': 'texts closer in meaning to "tea" than to "drinks"',
    'toward(2, "tea", "milk", "ale", "mead", 0.05) or word("oat")': (
        'texts closer in meaning to "tea" and "milk" on average than to "ale" and "mead" on average, '
        'or the word "oat"'
    ),
    'toward(1, "tea", "ale", "mead", -0.1)': (
        'texts at least nearly as close in meaning to "tea" as to "ale" and "mead" on average'
    ),
    'toward(2, "drinks", "refunds", 0.25)': "texts about drinks and refunds",
    'toward(2, "tea", "cancel", 0.25)': 'texts close in meaning to "tea" and "cancel"',
    'like("draft picks", "cancellation", 0.4)': "texts about draft picks or cancellation",
    'like("draft picks", "cancel", 0.4)': 'texts close in meaning to "draft picks" or "cancel"',
    'mark("?") and like("worst", 0.4)': 'question marks, in texts close in meaning to "worst"',
    'feels("negative")': "texts with a negative tone",
    "long(30)": "texts of 30 words or more",
    "long(1, 8)": "texts of at most 8 words",
    'tagged("d12")': 'texts tagged "cold soup"',
    'about("refund") and mark("?")': 'question marks, in texts that mention "refund"',
    'mark("?") and not word("how")': 'question marks, but not in texts with the word "how"',
    'like("tea", 0.4) and not feels("negative")': 'texts close in meaning to "tea", but not those with a negative tone',
    'suffix("ing") & prefix("un")': 'words starting with "un-" and ending in "-ing"',
    'class("adverb") & prefix("un")': 'adverbs in -ly, starting with "un-"',
    'word("saw") & class("past") & repeated()': (
        'the word "saw" as a verb in the past tense when said before in the same text'
    ),
    'form("phone") & after(word("my")) & before(mark(","))': (
        'the word "phone" in any form, after "my" and before a comma'
    ),
    'after(near(form("tea")))': 'the word or sign after a word or sign near any form of "tea"',
    'about("tea") and mark("!") and feels("positive") and long(9)': (
        'exclamation marks, in texts of 9 words or more with a positive tone that mention "tea"'
    ),
    'about("tea") and word("so") and mark("!")': (
        'the word "so", in texts with exclamation marks that mention "tea"'
    ),
    'about("tea") and not mark("!") and not long(9)': (
        'texts that mention "tea", but not those of 9 words or more or with exclamation marks'
    ),
    'word("so") and not piece("io") and not before(word("the")) and not piece("es", "io")': (
        'the word "so", but not in texts with words containing "io" or "es" or with something before "the"'
    ),
    'class("participle") & after(word("have"))': 'past participles after have or be, after "have"',
    'class("past") & after(word("we"))': 'verbs in the past tense after "we"',
    'class("modal") & before(form("have"))': 'modal verbs (can, should) before any form of "have"',
    'class("contrast") or mark(";")': "words of contrast (but, however), or semicolons",
    'word("{noun}", "a\\"b", "\\u202e")': """the word "{noun}", 'a"b' or "\\u202e\"""",
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
    assert mentioned or name in ("count", *SAYINGS)
    for claim in map(parse, mentioned):
        assert price(claim.clauses[0][0]) > 0 and all(footnotes(claim))


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("verbs in the past tense", "a verb in the past tense"),
        ("emoji and smileys", "an emoji or a smiley"),
        ("units of time (like hours)", "a unit of time (like hours)"),
        ("words that address somebody", "a word that addresses somebody"),
        ("words with digits in them", "a word with digits in it"),
        ("dashes", "a dash"),
        ("words all in capitals", "a word all in capitals"),
    ],
)
def test_one_of_many(plural, one):
    assert singular(plural) == one


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_a_singular(name):
    one = singular(CLASSES[name])
    assert (one.startswith(("a ", "an ")) and one.split(" ", 1)[1] != CLASSES[name]) or name == "kana"
    assert english(parse(f'after(class("{name}"))')) == f"the word or sign after {one}"


def test_signs_are_named_once_each():
    assert len(set(MARKS.values())) == len(MARKS)
    assert english(parse('mark("...")')) == "rows of three dots"
    assert english(parse("""word("it") & before(mark("'s"))""")) == """the word "it" before "'s\""""


def test_the_words_of_the_data_cannot_end_their_quotation_marks():
    assert quoted('it\'s "so"') == '"it\'s \\"so\\""'
    assert quoted("a\nb\x00") == '"a\\nb\\x00"'
    assert quoted("می‌خواهم") == '"می‌خواهم"'
    assert english(parse('like("a) or, \\"b\\"", 0.5)')) == "texts close in meaning to 'a) or, \"b\"'"
    assert english(parse('tagged("d1")'), names={"d1": "{0} <b>\n"}) == 'texts tagged "{0} <b>\\n"'


def test_footnotes_say_what_the_sentence_leaves_out():
    claim = parse(
        'form("turn") & near(form("turn")) and like("tea", "hot tea", 0.415) and not feels("negative")'
    )
    assert footnotes(claim) == [
        'any form of "turn": whatever has the same lemma',
        "near: at most 5 words or signs away, on either side",
        "tea or hot tea: a cosine of at least 0.415 by the encoder",
        "negative tone: a compound score of -0.05 or less by the lexicon VADER",
    ]
    assert footnotes(parse('mark("?")')) == []


def test_short_plain_claims_are_cheap():
    def of(text: str) -> float:
        return sum(map(price, parse(text).atoms))

    assert of('word("off")') == of('mark("?")') == of('class("past")') == of('suffix("ing")') == 1
    assert of('word("a", "b", "c")') == 3
    assert of('word("off") & after(form("turn"))') == 2 < of('after(form("turn"))') + 1
    assert of('piece("sh")') == 4 > of('piece("tion")') > of('suffix("tion")') == 1 < of('suffix("use")')
    assert of('word("sh") and not mark("?")') > 2


PAGE = (Path(__file__).parents[2] / "docs" / "claims.md").read_text("utf-8")
TABLES = re.findall(r"^\| `([a-z-]+\(.*?)` \| (.*?) \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("claim", "said"), TABLES)
def test_the_page_of_the_language_says_what_english_says(claim, said):
    kind = "image" if said.startswith("pictures") else "text"
    check(parse(claim))
    assert english(parse(claim), kind) == said
    assert str(parse(claim)) == claim


def test_the_page_of_the_language_has_every_condition_and_class():
    alone = [parse(claim).atoms for claim, _ in TABLES]
    assert {of[0].conditions[0].name for of in alone if len(of) == 1} >= set(KINDS)
    listed = " ".join(PAGE.split())
    assert [name for name, plural in CLASSES.items() if f"`{name}` {plural}" not in listed] == []
    for name, takes in ((name, kind.takes) for name, kind in KINDS.items()):
        if isinstance(takes, tuple) and name != "class":
            assert all(value in listed for value in takes), name


@pytest.mark.parametrize(
    ("piece", "words", "whole"),
    [
        ("uran", ["restaurant", "restaurants", "restauranteur"], "restaurant"),
        ("ric", ["price", "pricey", "pricing"], "pric"),
        ("an", ["banana", "bandana"], "ban"),
        ("sh", ["dish", "shell"], "sh"),
        ("so", ["so"], "so"),
    ],
)
def test_a_piece_grows_to_what_its_words_share(piece, words, whole):
    assert grown(piece, words) == whole
    assert all(whole in word for word in words)


@pytest.mark.parametrize(
    ("names", "phrases"),
    [
        (True, "opponents|draft picks|buses|allergies|children|cancelled orders|dirty rooms|long delays"),
        (True, "booking|going|kindness|location|slow service|hot tea|customer service|battery life"),
        (True, "London|Internet Explorer"),
        (False, "cancel|arrives|says|bought|worst|larger|nearest|expensive|quickly|away|always|this"),
        (False, "refund|button|cancel order|turn off|was cancelled|very slow|room dirty|the refund"),
        (False, "internet Explorer|refunds or orders|2 weeks ago|10|I|?|a) or|配送| "),
    ],
)
def test_about_stands_before_what_names_a_thing(names, phrases):
    assert [phrase for phrase in phrases.split("|") if names_a_thing(phrase) != names] == []
