"""Where descriptions point, against a plain loop; and what it takes to point there."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from reading import of_texts
from scipy import stats

from saywell.data.words import chunk_spans
from saywell.description import Description
from saywell.scorers.floors import Described
from saywell.scorers.intervals import wilson_interval
from saywell.scorers.localisation import Responsible, localisation, overlaps


def spans(random, most):
    ends = random.integers(0, 30, (int(random.integers(0, most)), 2))
    return [(int(a), int(b)) for a, b in np.sort(ends, 1)]


def share_a_character(one, others):
    return any(set(range(*one)) & set(range(*other)) for other in others)


@pytest.mark.parametrize("seed", range(40))
def test_localisation_is_what_a_plain_loop_counts(seed):
    random = np.random.default_rng(seed)
    texts = int(random.integers(1, 6))
    own = [(int(a), int(a) + int(random.integers(1, 6))) for a in random.integers(0, 25, texts)]
    pointed, words = ([spans(random, 7) for _ in range(texts)] for _ in range(2))
    found = localisation(own, pointed, words)
    hits = sum(share_a_character(one, there) for one, there in zip(own, pointed, strict=True))
    shares = [
        np.mean([share_a_character(word, there) for word in mine]) if mine else 0
        for mine, there in zip(words, pointed, strict=True)
    ]
    assert (found.share, found.n) == (hits / texts, texts) and found.by_chance == pytest.approx(
        np.mean(shares)
    )
    turned = localisation(own[::-1], [there[::-1] for there in pointed[::-1]], words[::-1])
    assert turned == pytest.approx(found)


def test_spans_share_characters_and_not_ends():
    others = [(10, 12), (0, 20), (30, 30), (5, 6)]
    asked = [(20, 25), (19, 25), (29, 31), (11, 11), (0, 1), (12, 15)]
    assert overlaps(asked, others).tolist() == [False, True, False, False, True, True]
    assert overlaps(asked, []).tolist() == [False] * 6 and overlaps([], others).tolist() == []


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 10), (180, 200), (1, 1)])
def test_wilson_is_that_of_scipy(hits, n):
    told = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    found = wilson_interval(hits, n)
    assert (found.value, found.n) == (hits / n, n)
    np.testing.assert_allclose((found.low, found.high), (told.low, told.high), atol=1e-12)
    assert np.isnan(wilson_interval(0, 0).value)


def test_only_known_spans_of_score_texts_are_asked_about():
    texts = ["red and blue", "one red thing", "nothing here", "the red"]
    examples = of_texts(texts, ["score", "score", "score", "select"])
    rows = [
        ("u", "score", "e0", 0, 3),
        ("u", "score", "e1", 8, 13),
        ("u", "score", "e2", None, None),
        ("u", "select", "e3", 4, 7),
        ("v", "score", "e0", 8, 12),
        ("w", "describe", "e0", 0, 3),
        ("x", "score", "e0", 4, 4),  # a token of no characters
    ]
    columns = {"unit": pl.String, "part": pl.String, "example": pl.String}
    schema = columns | {"span_start": pl.Int32, "span_end": pl.Int32}
    responsible = Responsible(pl.DataFrame(rows, schema=schema, orient="row"), examples)
    assert responsible.units == {"u", "v"}
    said = [Description(unit, text) for unit, text in zip("uvw", ["red", "silent", "red"], strict=True)]
    described = Described("mine", list("uvw"), ["u#0", "v#0", "w#0"], said)

    def at_words(own, row):
        if own.text == "silent":
            return None
        place = texts[row].find(own.text)
        return [(place, place + len(own.text))] if place >= 0 else []

    found = responsible.localised(described, {"a": at_words, "b": lambda own, row: None})
    assert found.select("description", "reader", "localised", "localised_n").rows() == [("u#0", "a", 0.5, 2)]
    shares = [1 / len(chunk_spans(text)) for text in texts[:2]]
    assert found["by_chance"].item() == pytest.approx(np.mean(shares))
