from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import said

from saywell.data.parts import DescribeRows, ScoreRows
from saywell.errors import LeakError
from saywell.readers.alternatives import alternatives, quotations
from saywell.readers.lexical import OTHER_FORM, LexicalReader, by_words
from saywell.resources import Resources

TEXTS = [
    "The batteries died after a day.",
    "A cold soup and a rude waiter.",
    "Battery life is long, the battery is fine.",
    "Nothing to say.",
    "Soup again, and again the soup.",
    "",
]
EVERY = np.arange(len(TEXTS))


def reader(texts=TEXTS):
    return by_words(texts, DescribeRows(np.arange(len(texts))))


def read(*descriptions, rows=EVERY, texts=TEXTS):
    return reader(texts)(said(*descriptions), rows)


def test_words_meet_in_any_form_and_rare_words_count_more():
    (battery,) = read("batteries")
    np.testing.assert_array_equal(battery, np.float32([1, 0, OTHER_FORM, 0, 0, 0]))
    (both,) = read("cold soup")
    # "soup" is in two texts and "cold" in one, so soup alone is less than half of it.
    assert both[1] == 1 and 0 < both[4] < 0.5


@pytest.mark.parametrize(
    "one, other", [("ran", "runs"), ("mice", "mouse"), ("zorbings", "zorbing"), ("Häuser", "häuser")]
)
def test_forms_of_a_word_are_one_word(one, other):
    (found,) = read(one, rows=np.arange(2), texts=[f"so {other}.", "so walk."])
    assert found[0] >= OTHER_FORM and found[1] == 0


def test_words_together_and_in_order_count_more():
    texts = [
        "a battery of long life",
        "life of a battery",
        "life, and then much later on the battery",
        "battery",
    ]
    (found,) = read("battery life", rows=np.arange(4), texts=texts)
    assert found[0] == 1 and found[0] > found[1] == found[2] > found[3]


QUOTES = [
    ('begins with the word "still"', "Still here.", "I am still here."),
    ('the word "still" as the first word of the text', "Still here.", "I am still here."),
    ('ends with "day"', "What a day!", "A day of rest."),
    ('a word ending in "ing"', "He goes walking.", "He walks."),
    ("words that begin with 'un'", "So unfair.", "A run."),
    ("words containing “sh”", "It washes.", "It was his."),
    ('the letters "sh" inside words', "It washes.", "It was his."),
    ('"un" at the start of words', "So unfair.", "A run."),
    ('"still" at the start of a sentence', "No. Still here.", "I am still here."),
    ('the phrase "turn off"', "Please turn off the tap.", "Turn it off."),
    ('the sign "?"', "Why?", "Why."),
    ('the word "not"', "It is not cold.", "It is the word."),
    ('"a, b"', "so a, b", "so a and b"),
    ('the word "off" after "turn"', "Turn it off.", "An off day, turn left."),
    ('the word "off" before "turn"', "An off day, turn left.", "Turn it off."),
]


@pytest.mark.parametrize("description, more, less", QUOTES)
def test_what_is_quoted_is_sought_and_the_words_around_say_where(description, more, less):
    (found,) = read(description, rows=np.arange(2), texts=[more, less])
    assert found[0] == 1 > found[1]


@pytest.mark.parametrize(
    "description, text, pointed",
    [
        ("battery life, soup", "Soup, and the life of soups.", ["Soup", "soups"]),
        ('the word "off" after "turn"', "Turn it off.", ["off"]),
        ('words ending in "ing"', "Sing, thing of rings: ing.", ["Sing", "thing"]),
        ('"turn off"', "Turn off; turn it off.", ["Turn off"]),
        ("zeppelin", "Soup.", []),
    ],
)
def test_it_points_at_the_words_that_it_found(description, text, pointed):
    examples = SimpleNamespace(
        texts=["soup", text], parts=SimpleNamespace(describe=DescribeRows(np.arange(2)))
    )
    point = LexicalReader().pointing(examples, Resources())  # type: ignore[arg-type]
    (one,) = said(description)
    assert [text[start:end] for start, end in point(one, 1)] == pointed
    assert point(said("?!")[0], 1) is point(said("' '")[0], 1) is None


def test_one_of_several_alternatives_is_enough():
    (either,) = read("battery life, soup")
    assert either[2] == either[1] == either[4] == 1
    assert 0 < either[0] < 1 and either[3] == either[5] == 0
    (joined,) = read("battery life soup")
    assert joined.max() < 1


def test_words_that_no_text_says_count_against():
    known, unknown = read("soup", "soup zeppelin")
    assert known[1] == 1 and 0 < unknown[1] < 0.5
    (never,) = read("zeppelin")
    assert (never == 0).all()


def test_function_words_count_only_where_there_is_nothing_else():
    (the,) = read("the")
    np.testing.assert_array_equal(the > 0, [True, False, True, False, True, False])
    a, b = read("the soup", "soup")
    np.testing.assert_array_equal(a, b)


def test_nothing_said_is_no_answer():
    assert all(np.isnan(found).all() for found in read("", " , ;", "...", "' '", "“ ”, «\t»", "'…' or '-'"))
    (soup,) = read("' ', soup, “…”")
    np.testing.assert_array_equal(soup, read("soup")[0])


def test_each_description_has_rows_of_its_own():
    first, second = reader()(said("soup", "battery"), np.array([[4, 1], [2, 1]]))
    assert first.tolist() == [1, 1] and second.tolist() == [1, 0]


def test_rarity_is_learnt_from_describe_rows_only():
    with pytest.raises(LeakError, match="DescribeRows"):
        by_words(TEXTS, ScoreRows(EVERY))  # type: ignore[arg-type]
    few = by_words(TEXTS, DescribeRows(np.array([1, 4])))
    changed = [text if n in (1, 4) else text + " cold cold" for n, text in enumerate(TEXTS)]
    other = by_words(changed, DescribeRows(np.array([1, 4])))
    for a, b in zip(*(r(said("cold soup"), np.array([1, 4])) for r in (few, other)), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.lists(st.text("abc ,;.\"'", max_size=20), min_size=1, max_size=5), st.text("abc ,\"'", max_size=9))
def test_numbers_are_shares(texts, description):
    (found,) = read(description, rows=np.arange(len(texts)), texts=texts)
    assert np.isnan(found).all() or ((found >= 0) & (found <= 1 + 1e-6)).all()


def test_alternatives():
    assert alternatives(" soup,the  waiter; soup,\n-, 7 ") == ["soup", "the waiter", "7"]
    assert alternatives("") == alternatives(";,") == []
    assert alternatives('words "a, b" or "c", 15" or 13"') == ['words "a, b"', '"c"', '15" or 13"']
    assert alternatives('";"') == ['";"'] and quotations("'a' “b c”, «d», it's '") == ["a", "b c", "d"]
