"""A fingerprint changes with everything that changes an output, and with nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from saywell.encoders.fingerprints import checkpoint_fingerprint, model_fingerprint
from saywell.encoders.sentence import encoder_fingerprint


def _one_number(model, tokenizer):
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[-1, -1] += 1e-3


def _epsilon(model, tokenizer):
    model.config.layer_norm_eps = 1e-3


def _heads(model, tokenizer):
    model.config.num_attention_heads = 4


def _added_word(model, tokenizer):
    tokenizer.add_tokens(["giraffe"])


def _lower_case(model, tokenizer):
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def _longest(model, tokenizer):
    tokenizer.model_max_length = 12


def _filled_up_before(model, tokenizer):
    tokenizer.padding_side = "left"


@pytest.mark.parametrize(
    "change", [_one_number, _epsilon, _heads, _added_word, _lower_case, _longest, _filled_up_before]
)
def test_everything_that_counts(bert, tokenizer, change):
    model, words = copy.deepcopy(bert), copy.deepcopy(tokenizer)
    assert model_fingerprint(model, words) == model_fingerprint(bert, tokenizer)
    change(model, words)
    assert model_fingerprint(model, words) != model_fingerprint(bert, tokenizer)


def test_nothing_else_counts(bert, tokenizer, tmp_path):
    from transformers import AutoModel

    before = model_fingerprint(bert, tokenizer)
    tokenizer(["good", "good good"], padding=True, truncation=True)  # leaves its mark in the rules
    bert.save_pretrained(tmp_path / "elsewhere")
    loaded = AutoModel.from_pretrained(tmp_path / "elsewhere", dtype=torch.float32).eval()
    loaded.config.use_cache = not bert.config.use_cache
    assert model_fingerprint(loaded, tokenizer) == before


def test_a_module_without_configuration_is_told_by_its_structure():
    plain = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    other = nn.Sequential(plain[0], nn.GELU())
    assert model_fingerprint(plain) != model_fingerprint(other)


def test_of_sentence_encoders_of_any_make():
    class Counting:
        name = "counting"

        def __call__(self, texts):
            return np.array([[len(text), 1.0] for text in texts])

    class Doubled(Counting):
        def __call__(self, texts):
            return 2 * super().__call__(texts)

    assert encoder_fingerprint(Counting()) == encoder_fingerprint(Counting())
    assert encoder_fingerprint(Counting()) != encoder_fingerprint(Doubled())


def test_a_checkpoint_on_disk_is_told_by_every_byte_and_not_by_its_place(tmp_path):
    for place in "abc":
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text("{}")
        # A merged adapter changes no size, and nothing near the beginning of the file.
        (tmp_path / place / "model.safetensors").write_bytes(bytes(2**21) + (b"1" if place == "c" else b"0"))
    (tmp_path / "b" / ".cache").write_text("a file of the hub's")
    a, b, c = (checkpoint_fingerprint(tmp_path / place) for place in "abc")
    assert a == b != c
