"""The canonical text of claims: every claim reads back as itself, and what is no claim says why."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.claims.english import english, footnotes, price
from saywell.claims.kinds import (
    AMOUNT,
    CONDITION,
    KINDS,
    LEANING,
    LETTERS,
    NAMES,
    NEARNESS,
    NOTHING,
    PHRASES,
    SIGNS,
    WORDS,
    Takes,
    check,
)
from saywell.claims.language import MOST_ATOMS, MOST_LETTERS, Atom, Claim, Condition, is_claim, parse, single
from saywell.errors import InputError

_HOSTILE = [
    "off",
    '"',
    "\\",
    '\\"',
    'a") or word("b',
    "and not",
    "\n",
    "\x00",
    "\x7f",
    "\u2028",
    "\u202e",
    "{x}",
    "{{",
]
_HOSTILE += ["<b>", "’", "naïve", "私", "😀", " ", "%s", "'"]
_STRINGS = st.one_of(st.sampled_from(_HOSTILE), st.text(min_size=1, max_size=8)).filter(str.strip)
_WHOLE = st.integers(0, 10**6).map(float)


def _lists(of: st.SearchStrategy[str]) -> st.SearchStrategy[tuple]:
    return st.lists(of, min_size=1, max_size=3).map(tuple)


def _ranges(least: int) -> st.SearchStrategy[tuple]:
    from_ = _WHOLE.map(lambda number: number + least)
    return st.lists(from_, min_size=1, max_size=2).map(lambda pair: tuple(sorted(pair)))


def _values(takes: Takes | tuple[str, ...], inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[tuple]:
    if isinstance(takes, tuple):
        return st.sampled_from(takes).map(lambda name: (name,))
    texts = _lists(_STRINGS)
    return {
        WORDS: _lists(_STRINGS.filter(lambda text: not re.search(r"\s", text))),
        SIGNS: _lists(st.sampled_from("?!.…§€’“_-/\\\"'") | st.just("...")),
        PHRASES: texts.map(lambda said: tuple(f"so {one}" for one in said)),
        NAMES: texts,
        NEARNESS: st.tuples(texts, st.floats(-1, 1)).map(lambda pair: (*pair[0], pair[1])),
        LEANING: st.tuples(st.lists(_STRINGS, min_size=2, max_size=4), st.floats(-2, 2)).flatmap(
            lambda pair: st.integers(1, len(pair[0])).map(lambda count: (float(count), *pair[0], pair[1]))
        ),
        LETTERS: _ranges(1),
        AMOUNT: _ranges(0),
        CONDITION: st.tuples(inner),
        NOTHING: st.just(()),
    }[takes]


def _conditions(level: str, depth: int = 1) -> st.SearchStrategy[Condition]:
    names = [n for n, k in KINDS.items() if k.level == level and (depth < 3 or k.takes != CONDITION)]

    @st.composite
    def one(draw: st.DrawFn) -> Condition:
        name = draw(st.sampled_from(names))
        inner = st.deferred(lambda: _conditions("token", depth + 1))
        return Condition(name, draw(_values(KINDS[name].takes, inner)))

    return one()


def _atoms(negated: bool) -> st.SearchStrategy[Atom]:
    of_tokens = st.lists(_conditions("token"), min_size=1, max_size=3).map(tuple)
    of_examples = _conditions("example").map(lambda one: (one,))
    return st.one_of(of_tokens, of_examples).flatmap(
        lambda all_: st.booleans().map(lambda no: Atom(all_, no and negated))
    )


_CLAUSES = st.tuples(_atoms(False), st.lists(_atoms(True), max_size=1)).map(lambda pair: (pair[0], *pair[1]))
CLAIMS = st.lists(_CLAUSES, min_size=1, max_size=2).map(lambda clauses: Claim(tuple(clauses)))


@settings(max_examples=60)
@given(CLAIMS)
def test_every_claim_reads_back_and_can_be_said(claim):
    text = str(claim)
    assert parse(text) == claim
    assert str(parse(text)) == text
    assert "\n" not in text
    check(claim)
    said = english(claim)
    assert said.isprintable() or "\u200c" in said or "\u200d" in said
    assert said == english(parse(text))
    assert all(note.isprintable() for note in footnotes(claim))
    assert all(price(atom) > 0 for atom in claim.atoms)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the name of a condition is missing at the end"),
        ("phones", "'(' is missing at the end"),
        ('word("off"', "',' is missing at the end"),
        ('word("off', "nothing can be read from letter 6 on"),
        ('word("off") word("on")', "'and', 'or' or the end is missing at letter 13"),
        ('word("off") and', "the name of a condition is missing at the end"),
        ('not word("off")', "something that holds before 'not' is missing at letter 5"),
        ('word("off") or not word("on")', "something that holds before 'not'"),
        ('word(("off"))', "a value is missing at letter 6"),
        (r'word("\q")', "a string in JSON's quotes is missing at letter 6"),
        ("long(1e5)", "',' is missing"),
        (f"long({'9' * 400})", "a number that is not so large is missing at letter 6"),
        ('after(after(after(after(word("x")))))', "neighbours at most"),
        (f"word({'x' * MOST_LETTERS})", f"at most {MOST_LETTERS:,} letters"),
        (" or ".join(['word("x")'] * (MOST_ATOMS + 1)), f"at most {MOST_ATOMS} atoms"),
    ],
)
def test_what_is_no_claim_says_where(text, error):
    with pytest.raises(InputError) as raised:
        parse(text)
    assert error in str(raised.value)
    assert not is_claim(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('says("off")', "there is no condition 'says'; there are word,"),
        ("word()", "word takes words"),
        ('word("")', "word takes words"),
        ("word(3)", "word takes words"),
        ('long("3")', "long takes one or two whole numbers from 0 on"),
        ("long(1, 2, 3)", "long takes one or two whole numbers from 0 on"),
        ("long(8, 3)", "long takes one or two whole numbers from 0 on"),
        ("long(-5)", "long takes one or two whole numbers from 0 on"),
        ('like("tea")', "like takes phrases"),
        ('like("tea", 1.5)', "a cosine from -1 to 1"),
        ('toward(2, "tea", 0.1)', "toward takes how many phrases it is towards"),
        ('toward(0, "tea", "ale", 0.1)', "toward takes how many phrases it is towards"),
        ('toward(3, "tea", "ale", 0.1)', "toward takes how many phrases it is towards"),
        ('toward(1.5, "tea", "ale", 0.1)', "toward takes how many phrases it is towards"),
        ('toward(1, "tea", "ale", 3)', "a number from -2 to 2"),
        ("like(0.5)", "like takes phrases"),
        ("long(2.5)", "long takes one or two whole numbers"),
        ("letters(0)", "letters takes one or two whole numbers from 1 on"),
        ('word("turn off")', "without spaces"),
        ('mark("so")', "mark takes signs"),
        ('mark("?!")', "mark takes signs"),
        ('about(" ")', "about takes phrases"),
        (r'form("\ud800")', "form takes words"),
        ("repeated(1)", "repeated takes nothing"),
        ('place("middle")', "place knows first, last"),
        ('after("turn")', "after takes one condition of a token"),
        ('after(about("tea"))', "about is asked of a whole example, not of a token"),
        ('word("tea") & about("tea")', "& joins what one token fulfils"),
    ],
)
def test_values_that_a_condition_cannot_have_are_named(text, error):
    with pytest.raises(InputError) as raised:
        check(parse(text))
    assert error in str(raised.value)


_ANYTHING = st.one_of(
    st.sampled_from(["", " ", "\t\n", "\ud800", "nope", "so what"]),
    st.floats(allow_nan=True),
    st.floats(-3, 3),
    st.just(Condition("about", ("tea",))),
    st.just(Condition("word", ("",))),
)


@settings(max_examples=150)
@given(st.sampled_from(list(KINDS)), st.lists(_ANYTHING, max_size=3).map(tuple))
def test_values_are_refused_in_one_line_or_read_back(name, values):
    claim = single(Condition(name, values))
    try:
        check(claim)
    except InputError as error:
        assert f"{name} " in str(error) or "of a token" in str(error) or " takes " in str(error)
        return
    assert parse(str(claim)) == claim and str(claim).encode("utf-8")
    assert english(claim) and isinstance(footnotes(claim), list)


def test_parts_of_a_claim():
    claim = parse('word("off") & after(form("turn")) and not about("tea") or mark("?")')
    assert [atom.negated for atom in claim.atoms] == [False, True, False]
    assert single(*claim.clauses[0][0].conditions) == parse('word("off") & after(form("turn"))')
