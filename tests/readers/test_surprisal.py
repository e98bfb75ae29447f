"""How much less surprising a description makes a text: against a plain loop, and in studies."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import of_texts, said
from torch import nn

from saywell.encoders.causal import causal_model, load_causal
from saywell.errors import InputError
from saywell.readers.registry import find_reader
from saywell.readers.surprisal import WITH, WITHOUT, SurprisalReader
from saywell.resources import Resources

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "language_models")]
import tiny_gguf

from tiny_causal import letter_tokenizer, tiny

TEXTS = ["soup", "a room with a view, and a bed", "", "bed", "soup and soup " * 40, "ünïcode ☃"]


class Copying(nn.Module):
    """Finds a letter more probable the more often it was there; keeps no keys and values."""

    def __init__(self, size=257):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=size)
        self.embedding = nn.Embedding(size, 1)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask, **_):
        seen = torch.nn.functional.one_hot(input_ids, self.config.vocab_size).float().cumsum(1)
        return SimpleNamespace(logits=torch.log1p(seen))


@pytest.fixture(scope="module")
def letters():
    return letter_tokenizer()


@pytest.fixture(scope="module", params=["gpt2", "llama", "no cache"])
def model(request, letters):
    return causal_model(Copying() if request.param == "no cache" else tiny(request.param, letters), letters)


def by_hand(model, before, text):
    """One text at a time, token by token; half of the context is for each of the two."""
    most = model.max_tokens // 2
    prefix = [256, *model.tokenizer(before)["input_ids"][: most - 1]]
    tokens = model.tokenizer(text)["input_ids"][:most]
    losses = []
    for place, token in enumerate(tokens):
        ids = torch.tensor([[*prefix, *tokens[:place]]])
        with torch.no_grad():
            logits = model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        losses.append(-float(logits[0, -1].double().log_softmax(-1)[token]))
    return np.mean(losses) if losses else np.nan


@pytest.mark.parametrize("before", ["Text:\n", "a very long description " * 20])
def test_losses_are_those_of_a_plain_loop(model, before):
    expected = [by_hand(model, before, text) for text in TEXTS]
    np.testing.assert_allclose(model.losses(before, TEXTS), expected, atol=2e-5)
    np.testing.assert_allclose(model.losses(before, TEXTS, cells=1), expected, atol=2e-5)


def test_a_long_text_holds_no_more_logits_at_once_than_others(letters):
    model, held = causal_model(tiny("gpt2", letters), letters), []
    model.model.register_forward_hook(lambda *call: held.append(call[-1].logits.numel()))
    model.losses("x", ["a" * 60], cells=20 * 257)
    assert max(held) == 20 * 257 and sum(held) >= 60 * 257


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text("abc é", max_size=30), min_size=1, max_size=9), st.randoms(), st.integers(1, 200))
def test_neither_order_nor_batch_matters(model, texts, random, size):
    whole = model.losses("x", texts)
    order = list(range(len(texts)))
    random.shuffle(order)
    other = model.losses("x", [texts[n] for n in order], cells=size * 257)
    np.testing.assert_allclose(other, whole[order], atol=2e-5)


def test_a_reading_is_the_loss_without_less_the_loss_with(model):
    asked = []
    model.model.register_forward_pre_hook(lambda *_: asked.append(1))
    predict = SurprisalReader().open(of_texts(TEXTS), Resources(causal=lambda: model))
    rows = np.array([[0, 1, 2, 0], [5, 3, 1, 0]])
    found = predict(said("soup", "rooms"), rows)
    for description, own, numbers in zip(("soup", "rooms"), rows, found, strict=True):
        with_it = WITH.format(description=description)
        expected = [by_hand(model, WITHOUT, TEXTS[n]) - by_hand(model, with_it, TEXTS[n]) for n in own]
        np.testing.assert_allclose(numbers, expected, atol=5e-5)
    asked.clear()
    alone = predict(said("rooms"), rows[1])
    np.testing.assert_allclose(alone[0], found[1], atol=2e-5)
    once = len(asked)
    asked.clear()
    SurprisalReader().open(of_texts(TEXTS), Resources(causal=lambda: model))(said("rooms"), rows[1])
    assert len(asked) == 2 * once  # what is expected without a description is kept


def test_what_a_description_says_is_less_surprising(letters):
    texts = ["zzzz zz", "qqqq qq"] * 10
    predict = SurprisalReader().open(
        of_texts(texts), Resources(causal=lambda: causal_model(Copying(), letters))
    )
    z, q = predict(said("zzzz", "qqqq"), np.arange(20))
    assert z[::2].min() > z[1::2].max() and q[1::2].min() > q[::2].max()


def test_files_and_what_is_no_causal_model(tmp_path, letters, bert, tokenizer):
    tiny("llama", letters).save_pretrained(tmp_path / "llama")
    letters.save_pretrained(tmp_path / "llama")
    loaded = load_causal(str(tmp_path / "llama"), device=torch.device("cpu"))
    np.testing.assert_allclose(
        loaded.losses("x", TEXTS), causal_model(tiny("llama", letters), letters).losses("x", TEXTS), atol=1e-6
    )
    file = tiny_gguf.write(tmp_path / "tiny.gguf")
    found = load_causal(str(file), device=torch.device("cpu")).losses("x", ["the soup", "bed"])
    assert np.isfinite(found).all()
    bert.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    for name, says in (("bert", "causal"), ("none.gguf", "no file"), ("nothing", "no such")):
        with pytest.raises(InputError, match=says):
            load_causal(str(tmp_path / name), device=torch.device("cpu"))
    with pytest.raises(InputError, match="no causal language model"):
        causal_model(bert, tokenizer)
    with pytest.raises(InputError, match="--surprisal-model"):
        SurprisalReader().open(of_texts(TEXTS), Resources())
    with pytest.raises(InputError, match="reads text examples only"):
        find_reader("surprisal", "image")
