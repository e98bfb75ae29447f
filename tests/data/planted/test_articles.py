"""Every sentence has a label, and the label agrees with pictures drawn at random."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.data.planted.articles import (
    COMMON_FROM,
    FALSE_TO,
    LABELS,
    SPECIFIC_TO,
    TRUE_FROM,
    article,
    article_text,
    gold_label,
    parse_claim,
    sentences,
    write_articles,
)
from saywell.data.planted.world import CLASSES, draw_scene


@pytest.fixture(scope="module")
def table():
    return sentences()


def test_every_sentence_of_every_article_is_labelled(table):
    assert len(table) == sum(len(p) for label in CLASSES for p in article(label))
    assert table["gold"].is_in(LABELS).all()
    counts = table.pivot("gold", index="label", values="text", aggregate_function="len")
    assert len(counts) == len(CLASSES)
    assert (counts.select(LABELS).min().row(0)) >= (6, 3, 6, 2)


def test_sentences_are_prose(table):
    for text in table["text"]:
        assert text[0].isupper() and text.endswith(".") and "|" not in text and "=" not in text
        assert text == text.strip() and "  " not in text
    assert not table.select("label", "text").is_duplicated().any()


def test_labels_hold_of_pictures_drawn_at_random():
    rng = np.random.default_rng(0)
    drawn = {label: [draw_scene(d, rng) for _ in range(400)] for label, d in CLASSES.items()}

    def share(claim, label):
        return np.mean([all(getattr(s, a) in v for a, v in claim.items()) for s in drawn[label]])

    gold = {(row["label"], row["text"]): row for row in sentences().iter_rows(named=True)}
    for label in CLASSES:
        for sentence in (s for paragraph in article(label) for s in paragraph):
            row = gold[label, sentence.text]
            if sentence.claim is None:
                assert row["gold"] == "invisible" and row["rate"] is None
                continue
            here = share(sentence.claim, label)
            elsewhere = np.mean([share(sentence.claim, other) for other in CLASSES if other != label])
            assert row["rate"] == pytest.approx(here, abs=0.1)
            assert row["rate_elsewhere"] == pytest.approx(elsewhere, abs=0.05)
            assert (row["gold"] == "visible-false") == (row["rate"] <= FALSE_TO)
            if row["gold"] != "visible-false":
                assert row["rate"] >= TRUE_FROM
                low = row["rate_elsewhere"] <= SPECIFIC_TO
                assert low != (row["rate_elsewhere"] >= COMMON_FROM)
                assert low == (row["gold"] == "visible-true")


@pytest.mark.parametrize(
    ("here", "elsewhere", "label"),
    [
        (None, None, "invisible"),
        (0.95, 0.1, "visible-true"),
        (0.95, 0.6, "not-discriminative"),
        (0.1, 0.0, "visible-false"),
        (0.1, 0.9, "visible-false"),
    ],
)
def test_labels_worked_by_hand(here, elsewhere, label):
    assert gold_label(here, elsewhere) == label


@pytest.mark.parametrize(("here", "elsewhere"), [(0.5, 0.1), (0.95, 0.4)])
def test_a_claim_between_the_labels_is_refused(here, elsewhere):
    with pytest.raises(AssertionError):
        gold_label(here, elsewhere)


def test_claims_are_parsed():
    assert parse_claim("-") is None
    assert parse_claim("always") == {}
    assert parse_claim("shape=star & colour=purple|pink") == {"shape": {"star"}, "colour": {"purple", "pink"}}
    assert parse_claim("texture!=dotted") == {"texture": {"plain", "striped", "checked"}}
    for wrong in ("shape=blob", "size=large", "star"):
        with pytest.raises(AssertionError):
            parse_claim(wrong)


def test_articles_are_written_without_their_claims(tmp_path, table):
    write_articles(tmp_path / "articles")
    written = {p.stem: p.read_text() for p in (tmp_path / "articles").iterdir()}
    assert set(written) == set(CLASSES)
    for label, text in written.items():
        assert text == article_text(label) + "\n" and "|" not in text and "=" not in text
        for sentence in table.filter(pl.col("label") == label)["text"]:
            assert sentence in text
