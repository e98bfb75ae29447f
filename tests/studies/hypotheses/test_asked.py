"""What is asked about: items of texts and pairs, their outcomes, what is held equal, and their parts."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from saywell.data.parts import PARTS
from saywell.errors import InputError
from saywell.studies.hypotheses.asked import load_asked
from saywell.studies.settings import HypothesisSettings

WORDS = ["battery", "screen", "waiter", "soup", "parcel", "refund", "quiet", "slow", "kind", "again"]


def sentences(n, seed=0):
    """n different sentences, none near another, of different lengths."""
    draw = random.Random(seed)
    return [
        " ".join([*draw.choices(WORDS, k=6 + i % 7), f"no{i}x{seed}", f"of{i}", f"day{i}"]) for i in range(n)
    ]


def frame(n=80, seed=0, **columns):
    texts = sentences(n, seed)
    return pl.DataFrame({"text": texts, **{name: make(n) for name, make in columns.items()}}, strict=False)


def pairs(n=40, **columns):
    return pl.DataFrame(
        {"a": sentences(n, 1), "b": sentences(n, 2), **{name: make(n) for name, make in columns.items()}}
    )


def cycle(*values):
    return lambda n: [values[i % len(values)] for i in range(n)]


def asked(source, versus=None, **options):
    return load_asked(source, HypothesisSettings(**options), versus)


def said(found, source, outcome=0):
    """What the outcome is of each row of the source, by the text: independent of how items are kept."""
    values = dict(zip(found.items.rows.tolist(), found.outcomes[outcome].values.tolist(), strict=True))
    return [values[row] for row in range(len(source))]


def test_texts_with_a_target_are_items_with_an_outcome():
    source = frame(stars=cycle(1, 5, 3))
    found = asked(source, target="stars")
    assert said(found, source) == source["stars"].to_list()
    texts = found.examples.texts
    assert [texts[i] for i in found.items.first] == [source["text"][int(r)] for r in found.items.rows]
    assert found.items.second is None and found.clusters is None and found.raters is None
    assert found.covariates.shape == (80, 0)
    assert set(found.items.parts) == set(PARTS)
    assert found.items.parts.tolist() == found.examples.table["part"].gather(found.items.first).to_list()


def test_a_pair_is_two_texts_and_one_when_the_first_is_favoured():
    source = pairs(best=cycle("b", "a", "a"))
    found = asked(source, text="a", pair="b", target="best")
    assert said(found, source) == [float(best == "a") for best in source["best"]]
    texts = found.examples.texts
    for first, second, row in zip(found.items.first, found.items.second, found.items.rows, strict=True):
        assert (texts[first], texts[second]) == source.select("a", "b").row(int(row))
    assert len(found.examples) == 80 and len(found.items) == 40


def test_pairs_without_a_target_favour_the_first_column_whichever_side_it_is_dealt_to():
    source = pairs(100)
    found = asked(source, text="a", pair="b")
    texts, favoured = found.examples.texts, found.outcomes[0].values
    chosen = np.where(favoured == 1, found.items.first, found.items.second)
    assert [texts[i] for i in chosen] == [source["a"][int(row)] for row in found.items.rows]
    assert favoured.mean() == 0.5


def test_rows_of_another_source_are_what_these_are_compared_with():
    source, other = frame(40), frame(30, seed=1)
    found = asked(source, other)
    assert said(found, pl.concat([source, other])) == [1.0] * 40 + [0.0] * 30
    assert found.outcomes[0].kind == "binary"


def test_two_groups_are_one_outcome_and_more_are_one_each():
    two = asked(frame(where=cycle("Rome", "Oslo")), between="where")
    assert [outcome.name for outcome in two.outcomes] == ["where=Oslo"]
    three = asked(frame(year=cycle(2019, 2020, 2021)), between="year")
    assert [outcome.name for outcome in three.outcomes] == ["year=2019", "year=2020", "year=2021"]
    assert sum(outcome.values for outcome in three.outcomes).tolist() == [1.0] * 80


def test_a_question_without_an_answer_is_refused():
    with pytest.raises(InputError, match="what is to be explained"):
        asked(frame())
    with pytest.raises(InputError, match="both say"):
        asked(frame(stars=cycle(1, 2)), frame(), target="stars")
    with pytest.raises(InputError, match="of pairs"):
        asked(pairs(where=cycle("x", "y")), text="a", pair="b", between="where")
