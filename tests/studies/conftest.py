"""A small made world for studies: three topics, a word-counting encoder, an LLM that knows the topics."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import polars as pl
import pytest

TOPICS = {
    "battery": ["battery charger", "battery phone", "charger phone battery"],
    "food": ["food soup", "soup waiter food", "food waiter"],
    "room": ["room bed", "bed clean room", "dirty bed room"],
}


class WordEncoder:
    """A sentence encoder that counts words: quick, and near for texts that share words."""

    name = "words"

    def __init__(self, words):
        self.place = {word: n for n, word in enumerate(words)}

    def __call__(self, texts):
        vectors = np.zeros((len(texts), len(self.place) + 1), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, self.place.get(word, -1)] += 1
            vectors[row, -1] += 0.01
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def corpus():
    """300 texts about one of three topics, with filler words around."""
    chooser = random.Random(1)
    filler = "the a is was it good bad price staff cheap dear rude kind very never again".split()
    rows = {}
    while len(rows) < 300:
        topic = chooser.choice(sorted(TOPICS))
        words = chooser.choice(TOPICS[topic]).split() + chooser.choices(filler, k=chooser.randint(1, 8))
        chooser.shuffle(words)
        rows[" ".join(words)] = [topic]
    return pl.DataFrame({"text": list(rows), "topic": list(rows.values())})


@pytest.fixture(scope="session")
def encoder():
    return WordEncoder("battery charger phone food soup waiter room bed clean dirty".split())


@pytest.fixture(scope="session")
def knower():
    """Answers the study's prompts from the corpus's gold: prompt text -> reply."""
    words = {word: topic for topic, sayings in TOPICS.items() for s in sayings for word in s.split()}

    def words_of(sentence: str) -> str:
        return next(words[word] for word in sentence.split() if word in words)

    def answer(text: str) -> str:
        claim = re.match(r"The description:\n<data-\w+>\n(.*?)\n</data-", text)
        if claim:  # a reader asks whether the description holds
            said = [
                {
                    "item": int(number),
                    "holds": "yes" if words_of(sentence) in claim[1] else "no",
                    "confidence": 1.0,
                }
                for number, sentence in re.findall(r"Text (\d+):\n<data-\w+>\n(.*?)\n</data-", text)
            ]
            return json.dumps({"items": said})
        listed = re.findall(r"^(\d+)\.\n<data-\w+>\n(.*?)\n</data-", text, re.M)
        numbers = {name: int(number) for number, name in listed}
        items = []
        for number, sentence in re.findall(r"Sentence (\d+):\n<data-\w+>\n(.*?)\n</data-", text):
            topic = words_of(sentence)
            said = [numbers[topic]] if topic in numbers else [] if listed else [topic]
            items.append({"item": int(number), "descriptors": said})
        return json.dumps({"items": items})

    return answer
