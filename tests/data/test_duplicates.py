"""The near-duplicate join against a plain loop over all pairs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.data.duplicates import comparison_forms, first_of_equals, near_duplicate_groups
from saywell.errors import InputError


def plain_shingles(text: str) -> set:
    spaced = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text.lower())
    words = spaced.split() or [text]
    if len(words) >= 6:
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
    joined = " ".join(words).ljust(4)
    return {joined[i : i + 4] for i in range(len(joined) - 3)}


def plain_groups(texts: Sequence[str], threshold: float) -> list[int]:
    sets = [plain_shingles(text) for text in texts]
    group = list(range(len(texts)))
    for i, left in enumerate(sets):
        for j, right in enumerate(sets[:i]):
            if len(left & right) / len(left | right) >= threshold:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    return group


WORD = st.sampled_from(
    ["the", "The", "battery", "was", "not", "good", "good!", "...", "bad,", "é", "😀", "x"]
)
SENTENCE = st.lists(WORD, min_size=1, max_size=14).map(" ".join)


@st.composite
def corpora(draw):
    """Sentences and copies of them with a word changed, added or dropped."""
    texts = draw(st.lists(SENTENCE, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 12))):
        words = draw(st.sampled_from(texts)).split()
        at = draw(st.integers(0, len(words) - 1))
        words[at : at + draw(st.integers(0, 1))] = draw(st.lists(WORD, max_size=1))
        texts.append(" ".join(words) or "x")
    return texts


@settings(max_examples=300, deadline=None)
@given(corpora(), st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.85, 1.0]))
def test_groups_equal_those_of_a_loop_over_all_pairs(texts, threshold):
    assert near_duplicate_groups(texts, threshold).tolist() == plain_groups(texts, threshold)


def test_groups_equal_those_of_a_loop_over_long_texts():
    rng = np.random.default_rng(0)
    texts = []
    for length in (20, 60, 200):
        for _ in range(6):
            words = rng.choice(5000, length).astype(str)
            for changes in range(6):
                copy = words.copy()
                copy[rng.integers(0, length, changes)] = "changed"
                texts.append(" ".join(copy))
    for threshold in (0.5, 0.7, 0.85, 0.95):
        groups = near_duplicate_groups(texts, threshold).tolist()
        assert groups == plain_groups(texts, threshold)
        assert 18 <= len(set(groups)) < len(texts)


def test_work_in_many_slices_gives_the_same_groups(monkeypatch):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["a", "b", "c"], rng.integers(6, 12))) for _ in range(120)]
    whole = near_duplicate_groups(texts, 0.6).tolist()
    monkeypatch.setattr("saywell.data.duplicates._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("saywell.data.duplicates._SHINGLES_AT_ONCE", 11)
    assert near_duplicate_groups(texts, 0.6).tolist() == whole == plain_groups(texts, 0.6)
    assert 1 < len(set(whole)) < 120


def test_recall_on_real_questions_is_one(shared):
    texts = pl.read_parquet(shared / "data" / "trec.parquet")["text"].unique(maintain_order=True)[:1500]
    for threshold in (0.5, 0.6):
        expected = plain_groups(texts.to_list(), threshold)
        assert len(set(expected)) < 1500
        assert near_duplicate_groups(texts, threshold).tolist() == expected


def test_a_chain_of_near_duplicates_is_one_group():
    words = list("abcdefghijklmnopqrstuvwxyz")
    texts = [" ".join(words[i : i + 20]) for i in range(5)]
    assert near_duplicate_groups(texts, 0.85).tolist() == [0] * 5
    assert near_duplicate_groups([texts[0], texts[4]], 0.85).tolist() == [0, 1]


def test_case_and_punctuation_do_not_tell_texts_apart_but_symbols_do():
    forms = comparison_forms(pl.Series(["Great -- phone!", "great phone", "great phone 😀", "?!", "!"]))
    assert forms.to_list() == ["great phone", "great phone", "great phone 😀", "?!", "!"]


def test_texts_without_spaces_are_compared_by_characters():
    texts = [
        "この電池はとても長く持ちますので気に入っています",
        "この電池はとても長く持ちますので気に入っています😀",
        "別の話です",
    ]
    assert near_duplicate_groups(texts, 0.85).tolist() == [0, 0, 2]


@pytest.mark.parametrize("texts", [[], [""], ["", "a", ""], ["a"], ["ab", "abc"]])
def test_tiny_inputs(texts):
    expected = [texts.index(text) for text in texts]
    assert near_duplicate_groups(texts, 0.85).tolist() == expected


@given(st.lists(st.sampled_from("abc")))
def test_first_of_equals(texts):
    found = first_of_equals(pl.Series(texts, dtype=pl.String)).tolist()
    assert found == [texts.index(text) for text in texts]


@pytest.mark.parametrize("threshold", [0.4, 1.1, float("nan"), True, "0.9"])
def test_a_threshold_that_is_no_jaccard_index_is_refused(threshold):
    with pytest.raises(InputError, match="near="):
        near_duplicate_groups(["a"], threshold)
