from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.claims.lexis import lemma
from saywell.data.words import is_function_word
from saywell.describers.extractive import MIN_HITS, telling
from saywell.describers.phrases import sayings
from saywell.describers.unions import best_together

FILLER = "table window garden letter bottle engine mirror pencil".split()


def describe_by_phrases(texts, fires, known=None):
    found = sayings(texts, min_texts=MIN_HITS)
    known = np.ones(len(texts), dtype=bool) if known is None else known
    return [[found.wordings[n] for n in telling(found, row, known)] for row in fires]


@pytest.fixture
def texts():
    random = np.random.default_rng(0)
    made = []
    for n in range(400):
        said = [["battery life", "soup", "wings", "wing", "off"][n % 8]] if n % 8 < 5 else []
        made.append(", ".join([*said, *random.choice(FILLER, 3)]) + ".")
    return made


def firing(texts, *words):
    return np.array([any(f"{word}," in text for word in words) for text in texts])


@pytest.mark.parametrize(
    "fires_on, named",
    [
        (["battery life"], ["battery life"]),  # whole, though its words tie with it
        (["battery life", "soup"], ["battery life", "soup"]),
        (["wings", "wing"], ["wing"]),  # in any form, named once
        (["wings"], ["wings"]),
        (["off"], ["off"]),  # function words may be what it is
    ],
)
def test_what_tells_where_a_unit_fires_is_named(texts, fires_on, named):
    assert describe_by_phrases(texts, firing(texts, *fires_on)[None]) == [named]


def test_texts_of_which_nothing_is_known_do_not_count(texts):
    fires, known = firing(texts, "soup"), np.arange(400) < 200
    (half,) = describe_by_phrases(texts[:200], fires[None, :200])
    mixed = [text if n < 200 else "soup, garden" for n, text in enumerate(texts)]
    assert describe_by_phrases(mixed, (fires & known)[None], known) == [half] == [["soup"]]


def test_chance_is_not_described(texts):
    random = np.random.default_rng(1)
    named = describe_by_phrases(texts, random.random((100, len(texts))) < 0.1)
    assert sum(bool(phrases) for phrases in named) <= 10  # one in twenty is to be expected
    words = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in ("lt", "nd", "rk", "st")]
    many = [" ".join(random.choice(words, 8)) for _ in range(400)]
    named = describe_by_phrases(many, random.random((100, 400)) < 0.1)
    assert sum(bool(phrases) for phrases in named) <= 10
    assert describe_by_phrases(texts, np.zeros((1, len(texts)), dtype=bool)) == [[]]
    assert describe_by_phrases(["a"], np.ones((2, 1), dtype=bool)) == [[], []]
    assert describe_by_phrases([], np.ones((1, 0), dtype=bool)) == [[]]


SAID = st.lists(st.sampled_from("wing wings Wing of the soup don't , . - 7".split()), max_size=8)


@given(st.lists(SAID, max_size=7), st.integers(1, 3))
def test_sayings_are_those_of_a_plain_loop(rows, least):
    found = sayings([" ".join(row) for row in rows], min_texts=least)
    forms, keys = {}, {}
    for n, row in enumerate(rows):
        row = [word.lower() for word in row]
        for start in range(len(row)):
            for stop in range(start + 1, min(start + 3, len(row)) + 1):
                said = row[start:stop]
                edges = any(map(is_function_word, (said[0], said[-1])))
                if not any(word in ",.-" for word in said) and not (len(said) > 1 and edges):
                    forms.setdefault(" ".join(said), set()).add(n)
                    keys.setdefault(tuple(map(lemma, said)), {}).setdefault(" ".join(said), set()).add(n)
    expected = []
    for wordings in keys.values():
        every = set().union(*wordings.values())
        commonest = min(wordings, key=lambda w: (-len(wordings[w]), w))
        expected += [(commonest, sorted(every))] if len(every) >= least else []
        expected += [(w, sorted(own)) for w, own in wordings.items() if least <= len(own) < len(every)]
    columns = [found.matrix[:, [n]].nonzero()[0].tolist() for n in range(len(found.wordings))]
    assert sorted(zip(found.wordings, map(sorted, columns), strict=True)) == sorted(expected)
    lengths = [-word.count(" ") for word in found.wordings]
    assert list(zip(lengths, found.wordings, strict=True)) == sorted(
        zip(lengths, found.wordings, strict=True)
    )
    assert (found.matrix.data == 1).all()


@given(st.integers(0, 5), st.integers(1, 12), st.integers(0, 2**31), st.sampled_from([(3, 1.1), (5, 1.0)]))
def test_the_best_together_are_found_one_after_the_other(phrases, examples, seed, rule):
    most, gain = rule
    random = np.random.default_rng(seed)
    holds, fires = random.random((examples, phrases)) < 0.4, random.random(examples) < 0.5

    def f1(chosen):
        said = holds[:, chosen].any(1)
        return 2 * (said & fires).sum() / max(1, said.sum() + fires.sum())

    expected, best = [], 0.0
    while len(expected) < most and phrases:
        values = [f1([*expected, n]) for n in range(phrases)]
        if max(values) <= best * gain:
            break
        expected, best = [*expected, int(np.argmax(values))], max(values)
    assert best_together(holds, fires, most, gain) == expected
    assert f1(expected) >= max([f1([n]) for n in range(phrases)], default=0)
