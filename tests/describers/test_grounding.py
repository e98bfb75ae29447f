from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.describers.class_texts.grounding import find_quotation, is_refusal, support
from saywell.describers.class_texts.visible import component, facts, trim, visibility

PASSAGES = [
    "The kite lives in Europe. It eats mice.",
    "Its head is pale grey – with dark streaks – and its “forked” tail is reddish-brown.",
    "The tail is long. The covered wings are red.",
]


@pytest.mark.parametrize(
    ("quotation", "cited", "place"),
    [
        ("Its head is pale grey", 1, 1),
        ("ITS  head\nis pale grey.", 0, 1),  # cited the wrong passage, but it is there
        ("pale grey - with dark streaks", 1, 1),
        ('"forked" tail is reddish-brown', None, 1),
        ("head is pale grey ... tail is reddish-brown", 1, 1),
        ("tail is reddish-brown ... head is pale grey", 1, None),  # not in this order
        ("lives in Europe … the tail is long", 0, None),  # not in one passage
        ("Its head is pale green", 1, None),
        ("vered wings", 2, None),  # not at the border of a word
        ("the tail", 2, None),  # too little to support anything
        ("is", 1, None),
        ("", 1, None),
        ("...", None, None),
        ("pale grey head", 99, None),
        ("the tail is long", 99, 2),
        ("the tail is long", -1, 2),
    ],
)
def test_quotations(quotation, cited, place):
    assert find_quotation(quotation, PASSAGES, cited) == place


@pytest.mark.parametrize(
    ("text", "quotation", "share"),
    [("नीली चोंच", "नीला आकाश है", 0), ("青い羽と長い尾", "尾は長い", 0.5), ("蓝色的喙", "蓝色的天空", 0.5)],
)
def test_support_in_other_scripts_is_by_words_and_not_by_letters(text, quotation, share):
    assert support(text, quotation, "") == pytest.approx(share)


@pytest.mark.parametrize(
    ("quotation", "passage", "found"),
    [
        ("長い尾", "体は小さく長い尾がある。", True),
        ("लम्बी पूँछ", "उसकी लम्बी पूँछ है।", True),
        ("लम्बी पूँ", "उसकी लम्बी पूँछ है।", False),
    ],
)
def test_quotations_in_other_scripts(quotation, passage, found):
    assert (find_quotation(quotation, [passage]) is not None) == found


def test_no_passages():
    assert find_quotation("the tail is long", [], 0) is None


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3), st.integers(-3, 5))
def test_any_quotation_is_answered(quotation, passages, cited):
    place = find_quotation(quotation, passages, cited)
    assert place is None or 0 <= place < len(passages)


def test_support_leaves_the_class_name_out():
    assert support("The red kite has a forked tail", "its forked tail", "red kite") == 1
    assert support("A forked green tail", "its forked tail", "kite") == pytest.approx(2 / 3)
    assert support("The kite is nice", "found in Europe", "kite") == 0
    assert support("The kite", "the kite", "kite") == 0


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot say.",
        "Sorry - no idea.",
        "As an AI language model, I have no eyes.",
        "N/A",
        "None.",
        "The article does not mention the bill.",
        "The bill is not described.",
        "No information about the bill.",
        "I can't help with that.",
        "Not specified",
        "I don’t know",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "A black bill with no spots.",
        "The wings are not marked.",
        "Unknowable blue depths around the fish.",
        "Nonebelow colours on a plain coat.",
        "The page of the book is yellow.",
    ],
)
def test_descriptions_are_no_refusals(text):
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("seen", "unseen"),
    [
        ("The wings are black with white bars.", "The species was named in 1758."),
        ("A round red body covered with dots.", "It is sold at a high price in the market."),
        ("It has a long, pointed bill.", "It breeds in northern countries and feeds on insects."),
        ("The roof is green and the walls are rough.", "The building was built by a famous architect."),
    ],
)
def test_what_is_seen_scores_above_what_is_not(seen, unseen):
    assert visibility(seen) > 0 >= visibility(unseen)


def test_a_heading_helps_what_is_visible_only():
    assert visibility("The wings are red.", "Description") > visibility("The wings are red.", "History")
    assert visibility("Nothing is said.", "Description") == visibility("Nothing is said.")


def test_component():
    assert component("The long wings are red.") == "wings"
    assert component("It is red.") == "appearance"


def test_facts_are_clauses_that_can_stand_alone():
    def cut(text):
        return [text[a:b] for a, b in facts(text)]

    assert cut("The head is red, and the tail is blue; it has spots.") == [
        "The head is red",
        "and the tail is blue",
        "it has spots.",
    ]
    assert cut("It is red, white, and blue.") == ["It is red, white, and blue."]
    assert cut("A bird.") == ["A bird."]


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        ("however, its tail (see figure 1 [2]) is red", "The kite's tail is red."),
        ("and the head is pale", "The head is pale."),
        ("It has long wings", "The kite has long wings."),
        ("They have long wings.", "The kite has long wings."),
        ("which are red", "The kite is red."),
        ("Its  bill\nis short;", "The kite's bill is short."),
        ("Italian wings are red", "Italian wings are red."),
        ("(only brackets)", ""),
    ],
)
def test_trim(clause, text):
    assert trim(clause, "kite") == text


def test_class_names_are_no_patterns():
    assert trim("It has wings", r"a\1b\g<0>") == r"The a\1b\g<0> has wings."
