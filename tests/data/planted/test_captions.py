"""Captions say what is in their scene; remarks say nothing of it."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np

from saywell.data.planted import captions
from saywell.data.planted.captions import ADJECTIVES, MARKINGS, NOUNS, NUMBERS, PLACES, caption, remark
from saywell.data.planted.scenes import ATTRIBUTES
from saywell.data.planted.world import draw_scene


def words_for(attribute: str) -> dict[str, tuple[str, ...]]:
    more = {"shape": NOUNS, "texture": MARKINGS, "ground": captions._GROUND_NOUNS}
    if attribute == "count":
        return {value: (value, *words) for value, words in NUMBERS.items()}
    if attribute == "layout":
        return PLACES
    return {v: (*words, *more.get(attribute, {}).get(v, ())) for v, words in ADJECTIVES[attribute].items()}


def test_every_value_has_words_and_no_word_means_two():
    for attribute, values in ATTRIBUTES.items():
        words = words_for(attribute)
        assert tuple(words) == values
        said = [word for value in values for word in set(words[value])]
        assert len(said) == len(set(said))


def test_a_caption_says_what_it_mentions():
    rng = np.random.default_rng(0)
    mentioned = set()
    for _ in range(800):
        scene = draw_scene({}, rng)
        text, attributes = caption(scene, rng)
        assert attributes <= set(ATTRIBUTES) and attributes
        assert not re.search(r"[{}]|  ", text)
        for attribute in attributes:
            value = asdict(scene)[attribute]
            assert any(word in text.lower() for word in words_for(attribute)[value]), (text, attribute)
            mentioned.add((attribute, value))
    assert len(mentioned) == sum(len(values) for values in ATTRIBUTES.values())


def test_captions_are_silent_on_colours_they_do_not_mention():
    rng = np.random.default_rng(1)
    colours = {word for words in ADJECTIVES["colour"].values() for word in words}
    for _ in range(800):
        text, attributes = caption(draw_scene({}, rng), rng)
        if "colour" not in attributes:
            assert not colours & set(re.findall(r"[a-z-]+", text.lower())), text


def test_remarks_name_no_look():
    rng = np.random.default_rng(2)
    looks = {w for words in ADJECTIVES.values() for values in words.values() for w in values}
    looks |= {word for words in NOUNS.values() for word in words}
    remarks = {remark(rng) for _ in range(800)}
    assert len(remarks) > 500
    for text in remarks:
        assert not looks & set(re.findall(r"[a-z-]+", text.lower())), text


def test_the_same_generator_writes_the_same_captions():
    scene = draw_scene({}, np.random.default_rng(3))
    first, second = (np.random.default_rng(4) for _ in range(2))
    assert [caption(scene, first) for _ in range(5)] == [caption(scene, second) for _ in range(5)]
