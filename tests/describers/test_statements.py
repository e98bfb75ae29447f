"""What may be said of texts, and of which it holds, read all together and one by one."""

import numpy as np
import pytest

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.texts import load_texts
from saywell.describers.statements import LEAST_TEXTS, holding, prices, statements
from saywell.resources import Resources

WORDS = ["The waiter was rude", "We loved the soups", "I'd never pay $20 again", "Customer service is slow!"]


@pytest.fixture(scope="module")
def ground():
    draw = np.random.default_rng(0)
    texts = [f"{' '.join(draw.permutation(WORDS)[:2])} {'x' * (n + 1)} number {n}" for n in range(120)]
    return Ground(load_texts(texts, near=None), Resources())


def test_words_phrases_classes_and_signs_are_said_and_words_without_meaning_are_not(ground):
    said = set(map(str, statements(ground)))
    assert {'word("rude")', 'word("slow")', 'mark("!")', 'feels("negative")'} <= said
    assert not {'word("the")', 'word("was")', 'form("be")', 'word("20")', 'class("function")'} & said
    assert sorted(said) == list(map(str, statements(ground)))


def test_each_holds_of_some_texts_and_not_of_all(ground):
    held = np.diff(holding(statements(ground), ground).indptr)
    assert held.min() >= LEAST_TEXTS and held.max() < len(ground)


def test_all_together_are_read_as_each_is_executed(ground):
    claims = statements(ground)
    claims += [
        parse(text)
        for text in ('form("love")', 'word("Rude") and not mark("!")', 'mark("x")', 'word("unseen")')
    ]
    claims += [parse('word("rude", "slow")'), parse('phrase("customer service") or word("soups")')]
    execute = Executor(ground)
    expected = np.array([execute(claim).examples for claim in claims])
    np.testing.assert_array_equal(holding(claims, ground).toarray() > 0, expected)


def test_nothing_is_said_of_nothing(ground):
    assert holding([], ground).shape == (0, len(ground)) and len(prices([])) == 0


def test_a_phrase_costs_more_than_a_word():
    assert np.diff(prices([parse('word("slow")'), parse('phrase("customer service")')]))[0] > 0
