"""Long texts in windows: all that is in them once, as texts that have no more tokens than was said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.data.texts import load_texts
from saywell.data.windows import cut, windows
from saywell.errors import InputError


@pytest.fixture(scope="module")
def pieces():
    """A tokenizer with several tokens to a word, and to a letter that is none of ASCII's, and BOS and EOS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("a", "b"), ("Ġ", "a"), ("Ġa", "b"), ("c", "d")]
    vocabulary = {c: n for n, c in enumerate(["<s>", "</s>", *letters, *map("".join, merges)])}
    raw = Tokenizer(models.BPE(vocabulary, merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


def count(tokenizer, text):
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


words = st.lists(st.text("abcdé漢", min_size=1, max_size=9), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=40)
@given(texts=st.lists(words, min_size=1, max_size=3), context=st.integers(4, 12), stride=st.integers(1, 12))
def test_windows_have_all_of_a_text_once_and_are_short_enough(pieces, texts, context, stride):
    stride = min(stride, context)
    found = list(cut(texts, pieces, context, stride))
    assert [one.text for one in found] == sorted(one.text for one in found)
    for place, text in enumerate(texts):
        own = [one for one in found if one.text == place]
        assert [one.window for one in own] == list(range(len(own)))
        if count(pieces, text) <= context:
            assert own == [(place, 0, 0, len(text), 0)]
            continue
        assert all(count(pieces, text[one.start : one.end]) <= context for one in own)
        new = [text[one.start + one.lead : one.end] for one in own]
        assert "".join(new).replace(" ", "") == text.replace(" ", "") and all(new)
        assert all(one.lead == 0 for one in own) or stride < context
        assert np.all(np.diff([one.start for one in own]) >= 0)
        # Alone or with others, in whatever order.
        assert [(0, *one[1:]) for one in own] == list(cut([text], pieces, context, stride))


def test_words_are_cut_only_where_they_are_too_long(pieces):
    text = "ab cdcd " * 3 + "dddddddddddd ab"
    shown = [text[one.start : one.end] for one in cut([text], pieces, 6, 6)]
    assert shown == ["ab cdcd ab", "cdcd ab", "cdcd", "ddddd", "dddddd", "d ab"]


def book(word, length=60):
    return " ".join(f"{word}{n * n}ab{n}" for n in range(length))


def test_windows_of_a_text_are_in_its_part_and_short_texts_as_they_were(pieces):
    texts = [*(f"short text {n} ab" for n in range(8)), *(book(chr(97 + n) * 3, 40 + n) for n in range(16))]
    plain = load_texts(texts, max_chars=10**6)
    got = windows(texts, pieces, 64, 48)
    assert got.table["id"].is_sorted() and got.parts and got.notes[-1].startswith("16 texts of more than 64")
    parts = got.table.group_by("row").agg(pl.col("part").n_unique(), pl.col("group").first())
    assert (parts["part"] == 1).all() and set(parts["group"]) == set(plain.ids)
    whole = plain.table.select("row", "part", "text", "id")
    joined = got.table.join(whole, on="row", suffix="_whole")
    assert (joined["part"] == joined["part_whole"]).all()
    short = joined.filter(pl.col("text_whole").str.len_chars() < 30)
    assert short.height == 8 and (short["id"] == short["id_whole"]).all()
    # The order of the source changes row numbers alone, and without a long text nothing is added.
    again = windows(texts[::-1], pieces, 64, 48)
    assert again.table.drop("row").equals(got.table.drop("row")) and again.fingerprint == got.fingerprint
    assert windows(texts, pieces, 64, 40).fingerprint != got.fingerprint
    assert windows(texts, pieces, 10**6).table.equals(plain.table)


def test_equal_windows_of_several_texts_are_kept_once(pieces):
    notice = book("notice", 8)
    texts = [f"{notice} {book(chr(97 + n) * 4, 30)}" for n in range(20)]
    length = count(pieces, notice)
    got = windows(texts, pieces, length)
    kept = got.table.filter(pl.col("text") == notice)
    copies = len(load_texts(texts, max_chars=10**6)) - 1
    assert kept.height == 1 and got.notes[-1].startswith(f"{copies} windows are copies")
    assert got.table["id"].is_unique().all()


@pytest.mark.parametrize(("context", "stride"), [(0, None), (4, 5), (4, 0)])
def test_no_window_is_no_window(pieces, context, stride):
    with pytest.raises(InputError, match=r"--context.*--stride"):
        windows(["a"], pieces, context, stride)
