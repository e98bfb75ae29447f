from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.words import chunk_spans, content_words, grown_to_words, whole_words, word_finder, words

PLAIN = r"LETTERS(?:['’]LETTERS)?|\d+"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat’s 3 paws, wi-fi & l'été_2", ["the", "cat", "3", "paws", "wi", "fi", "l'été", "2"]),
        ("नदी के किनारे लम्बी घास", ["नदी", "के", "किनारे", "लम्बी", "घास"]),
        ("মেঘলা আকাশ", ["মেঘলা", "আকাশ"]),
        ("மழை பெய்கிறது", ["மழை", "பெய்கிறது"]),
        ("می‌روم خانه", ["می‌روم", "خانه"]),  # a joiner inside a word
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("나는 학교에 간다", ["나는", "학교에", "간다"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("明天下雨和台风", ["明天", "下雨", "和", "台风"]),
        ("新しい自転車を買う", ["新しい", "自転車", "を", "買う"]),
        ("ตลาดน้ำ", ["ตลาด", "น้ำ"]),
        ("iPhone手机15", ["iphone", "手机", "15"]),
        ("", []),
        ("—!", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text())
def test_words_never_begin_with_a_mark_nor_lose_a_letter(text):
    found = word_finder(PLAIN)(text)
    assert not any(unicodedata.category(word[0]).startswith("M") for word in found)
    letters = [c for c in text if c.isalpha() or c.isdecimal()]
    assert [c for word in found for c in word if c.isalpha() or c.isdecimal()] == letters


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_is_the_long_way(text):
    short = word_finder(PLAIN)
    assert short(text) == [w for w in short(text + " é") if w != "é"]
    assert short(text) == re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+", text)


@given(st.text("aé'ñßжωअआकखगि்ுகதא ب-_9,"))
def test_scripts_with_spaces_are_cut_where_unicode_says(text):
    """Unicode's own word breaks (UAX 29), by ICU, agree about every run of letters with marks."""
    from icu4py.breakers import WordBreaker

    apart = re.sub(r"[^\w\u0900-\u0dff]|[_\d]", " ", text)  # spaces around runs of letters
    expected = [piece for piece in WordBreaker(apart, "") if any(c.isalpha() for c in piece)]
    assert [w for w in word_finder("LETTERS")(apart) if w] == [
        # a mark without a letter before it is no part of a word
        re.sub(r"^[\u093f\u0bcd\u0bc1]+", "", piece)
        for piece in expected
    ]


@pytest.mark.parametrize(
    ("sought", "text", "found"),
    [
        ("cat", "a catalogue", False),
        ("cat", "my cat.", True),
        ("किताब", "नई किताबें", False),  # a vowel sign belongs to the letter before it
        ("किताब", "नई किताब।", True),
        ("鉄塔", "赤い鉄塔である", True),
        ("café", "cafés", False),
        ("wifi", "用wifi上网", True),
        ("น้ำ", "ตลาดน้ำ", True),
    ],
)
def test_whole_words(sought, text, found):
    assert (whole_words(re.escape(sought))(text).search(text) is not None) == found


@given(st.text(max_size=30), st.data())
def test_spans_grow_to_borders_and_chunks_lose_nothing(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = grown_to_words(text, start, end)
    assert 0 <= first <= start <= end <= last <= len(text)
    assert grown_to_words(text, first, last) == (first, last) or first == last
    assert "".join(text[a:b] for a, b in chunk_spans(text)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "part", "grown"),
    [
        ("the old waiter left", "ait", "waiter"),
        ("नई किताब पढ़ी", "ता", "किताब"),
        ("明天下雨和台风", "雨", "下雨"),
        ("明天下雨和台风", "雨和", "下雨和"),
    ],
)
def test_a_token_grows_to_its_word(text, part, grown):
    start = text.index(part)
    first, last = grown_to_words(text, start, start + len(part))
    assert text[first:last] == grown


def test_function_words_of_other_languages_are_no_content():
    assert content_words("यह एक लाल चील है") == {"लाल", "चील"}
    assert content_words("これは赤い塔です") == {"赤い", "塔"}
    assert content_words("这是红色的塔") == {"红色", "塔"}
