"""What a direction adds to logits: against models that are run with it, whatever their last norm is."""

import numpy as np
import pytest
import torch

from saywell.errors import InputError
from saywell.units.models import load_model, wrap_model
from saywell.units.unembedding import causal_of
from tiny_causal import letter_tokenizer, tiny


@pytest.fixture(scope="module")
def tokenizer():
    return letter_tokenizer()


def whole(kind, tokenizer):
    if kind != "gemma":
        return tiny(kind, tokenizer)
    from transformers import GemmaConfig, GemmaForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = GemmaForCausalLM(
        GemmaConfig(vocab_size=len(tokenizer), head_dim=8, num_key_value_heads=1, **size)
    )
    torch.nn.init.normal_(model.model.norm.weight, std=0.5)  # its norm multiplies by 1 more than that
    return model.eval()


def last_norm(model):
    return getattr(model.base_model, "ln_f", None) or model.base_model.norm


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma"])
def test_the_effect_is_that_of_the_direction_on_a_stream_of_another_size(kind, tokenizer):
    """In a stream that is large beside the direction, across which it stands, only the size differs."""
    model = whole(kind, tokenizer)
    norm = last_norm(model)
    torch.nn.init.normal_(norm.weight, std=0.5)
    causal = causal_of(wrap_model(model, tokenizer))
    assert causal.prefix == ""
    assert causal.centres == (kind == "gpt2")
    stream, directions = 100 * torch.randn(16), torch.randn(3, 16)
    if causal.centres:
        stream -= stream.mean()
    directions -= (directions @ stream)[:, None] * stream / stream.pow(2).sum()
    with torch.no_grad():
        logits = model.get_output_embeddings()(norm(torch.stack([stream, *(stream + directions * 0.01)])))
    change = (logits[1:] - logits[0]) * stream.pow(2).mean().sqrt() / 0.01
    torch.testing.assert_close(
        causal.effects(directions), change - change.mean(1, keepdim=True), rtol=2e-2, atol=2e-2
    )


def test_promoted_tokens_are_those_of_a_full_sort(tokenizer):
    causal = causal_of(wrap_model(tiny("llama", tokenizer), tokenizer))
    directions = torch.randn(7, 16)
    logits = causal.effects(directions).numpy()
    up, down = causal.promoted(directions, 5)
    assert (up.tokens == np.argsort(-logits, axis=1, kind="stable")[:, :5]).all()
    assert (down.tokens == np.argsort(logits, axis=1, kind="stable")[:, :5]).all()
    assert (up.values == np.take_along_axis(logits, up.tokens, 1)).all()
    assert (down.values < 0).all()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_head_of_a_checkpoint_is_put_on_the_model_that_was_loaded(kind, tokenizer, tmp_path):
    model = tiny(kind, tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu")
    causal = causal_of(loaded)
    assert causal.model.get_submodule(causal.prefix.removesuffix(".")) is loaded.model
    ids = torch.arange(8)[None]
    with torch.no_grad():
        assert torch.equal(causal.model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_an_encoder_has_no_output_side_and_no_head_is_made_up(capfd):
    loaded = load_model("minilm", device="cpu")
    with pytest.raises(InputError, match="no head that predicts"):
        causal_of(loaded)
    assert capfd.readouterr() == ("", "")


def test_a_model_given_without_its_head_has_no_output_side(tokenizer):
    with pytest.raises(InputError, match="no head that predicts"):
        causal_of(wrap_model(tiny("llama", tokenizer).model, tokenizer))
