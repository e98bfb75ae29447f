from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.planted.world import CLASSES
from saywell.describers.class_texts.statements import contradictions, first_saying_it
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import open_dual_encoder

NAMES = ["Zorp", "river Wex"]
AT_ODDS = (
    ("It has glorps on its back.", "No glorps are to be seen.", "what one denies"),
    ("The Zorp is unspotted.", "The wings are spotted.", "what one denies"),
    ("A wimbleless specimen.", "Wimbles cover the body.", "what one denies"),
    ("The surface is nonferrous.", "A ferrous surface.", "what one denies"),
    ("It doesn't have a snarl.", "A snarl is visible.", "what one denies"),
    ("Its ears are free of tufts.", "Tufts on the ears.", "what one denies"),
    ("It is never seen in flight.", "The river Wex is shown in flight.", "what one denies"),
    ("The Zorp is brown.", "It has white fur.", "colour"),
    ("The zub is bright green.", "A black zub hangs down.", "colour"),
    ("It is small.", "The Zorp is large.", "size"),
    ("It has four quills.", "It has six quills.", "number"),
    ("Three of them in a row.", "It is a solitary creature.", "number"),
    ("The bloom is bell-shaped.", "A star-shaped bloom.", "shape"),
    ("The blades are smooth.", "Its blades are rough.", "surface"),
)
AGREE = (
    ("The head is black.", "The tail is white."),
    ("It has a red head.", "It has a red beak."),
    ("The male is blue.", "The female is brown."),
    ("Some are white.", "It is brown."),
    ("It has no stripes on the tail.", "Stripes on the wing."),
    ("The upper wing is dark.", "The lower wing is pale."),
    ("There is no other zub like it.", "Other zubs are near it."),
    ("The winter coat is white.", "In summer the coat is brown."),
    ("It has no more than two spots.", "It has spots."),
    ("Black and white stripes.", "White stripes."),
    ("It has stripes on the wings and no stripes on the tail.", "Stripes."),
    ("It is light brown.", "The fur is dark."),
    ("The wings are narrow at the base.", "The wings are broad at the tip."),
    ("The Zorp is brown with a white breast.", "The breast is white."),
    ("The page behind it is white.", "The skin is a deep blue."),
    ("Each of them is a five-pointed star.", "They come as a trio."),
)


@pytest.mark.parametrize(("one", "other", "kind"), AT_ODDS)
def test_sentences_contradict_each_other_in_words_that_no_list_has(one, other, kind):
    assert contradictions([one, other], NAMES) == contradictions([other, one], NAMES) == [(0, 1, kind)]


@pytest.mark.parametrize(("one", "other"), AGREE)
def test_sentences_about_other_parts_times_and_sexes_do_not(one, other):
    assert contradictions([one, other], NAMES) == []


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_a_model_writes_is_compared_either_way_round_and_never_with_itself(one, other):
    assert contradictions([one, one]) == []
    assert contradictions([one, other]) == contradictions([other, one])


def test_one_of_those_that_say_the_same_stays():
    texts = [
        "The Zorp has a bushy tail with a white tip.",
        "Its tail is bushy, with a white tip.",
        "Its tail is bushy, with a black tip.",
        "Its tail is not bushy, with a white tip.",
        "Three zubs hang down.",
        "Two zubs hang down.",
        "three ZUBS hang down!",
    ]
    apart = np.eye(len(texts))
    assert first_saying_it(texts, apart, NAMES).tolist() == [0, 0, 2, 3, 4, 5, 4]
    # To an encoder that understands nothing they are all alike, and that alone says nothing.
    assert first_saying_it(texts[1:], np.ones((6, 1)), NAMES).tolist() == [0, 1, 2, 3, 4, 3]
    assert first_saying_it([], np.zeros((0, 4))).tolist() == []


def test_an_encoder_tells_other_words_for_the_same():
    texts = [
        "The whole body is red.",
        "Old and young are scarlet in colour.",
        "The body is blue.",
        "The Cald tovin was sold for a horse.",
        "Its taste is sour.",
    ]
    vectors = open_dual_encoder(PLANTED).encode_texts(texts)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors[3] @ vectors[4] > 0.99  # neither means anything to it
    assert first_saying_it(texts, vectors, list(CLASSES)).tolist() == [0, 0, 2, 3, 4]
