"""Units are found by structure in every family, and read where the field reads them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from saywell.errors import InputError
from saywell.units.sites import encoder_of, find_sites, head_gram


def small_models():
    from transformers import (
        BertConfig,
        BertModel,
        DistilBertConfig,
        DistilBertModel,
        GPT2Config,
        GPT2Model,
        GPTNeoXConfig,
        GPTNeoXModel,
        LlamaConfig,
        LlamaModel,
        ModernBertConfig,
        ModernBertModel,
        RobertaConfig,
        RobertaModel,
        T5Config,
        T5Model,
    )  # fmt: skip

    size = dict(vocab_size=40, num_hidden_layers=2, num_attention_heads=2, hidden_size=16)
    return {
        "bert": (BertModel(BertConfig(**size, intermediate_size=24)), 24),
        "roberta": (RobertaModel(RobertaConfig(**size, intermediate_size=24)), 24),
        "distilbert": (
            DistilBertModel(DistilBertConfig(vocab_size=40, n_layers=2, n_heads=2, dim=16, hidden_dim=24)),
            24,
        ),
        "modernbert": (
            ModernBertModel(
                ModernBertConfig(**size, intermediate_size=24, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                 cls_token_id=1, sep_token_id=2)
            ),
            24,
        ),
        "gpt2": (GPT2Model(GPT2Config(vocab_size=40, n_layer=2, n_head=2, n_embd=16)), 64),
        "gpt-neox": (GPTNeoXModel(GPTNeoXConfig(**size, intermediate_size=24)), 24),
        "llama": (LlamaModel(LlamaConfig(**size, intermediate_size=24)), 24),
        "t5": (
            T5Model(T5Config(vocab_size=40, num_layers=2, num_heads=2, d_model=16, d_ff=24, d_kv=4)),
            24,
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return small_models()


FAMILIES = ("bert", "roberta", "distilbert", "modernbert", "gpt2", "gpt-neox", "llama", "t5")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_neurons_found(models, family):
    model, width = models[family]
    model = encoder_of(model).eval()
    sites = find_sites(model, "ffn")
    assert [site.layer for site in sites] == [0, 1]
    assert {site.units for site in sites} == {width}
    assert all(site.tap == "input" for site in sites)


@pytest.mark.parametrize("family", FAMILIES)
def test_residual_and_heads(models, family):
    model = encoder_of(models[family][0])
    assert {site.units for site in find_sites(model, "residual")} == {16}
    assert {site.units for site in find_sites(model, "attention-head")} == {2}


def test_ffn_units_of_bert_are_the_activated_neurons(models):
    model = models["bert"][0].eval()
    seen = {}
    site = find_sites(model, "ffn")[0]
    hook = model.get_submodule(site.module).register_forward_pre_hook(
        lambda module, args: seen.update(ours=args[0])
    )
    other = model.encoder.layer[0].intermediate.register_forward_hook(
        lambda module, args, output: seen.update(theirs=output)
    )
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))
    hook.remove()
    other.remove()
    assert torch.equal(seen["ours"], seen["theirs"])


def test_ffn_units_of_llama_are_gate_times_up(models):
    model = models["llama"][0].eval()
    seen = {}
    mlp = model.layers[1].mlp
    site = find_sites(model, "ffn", layers=[1])[0]
    model.get_submodule(site.module).register_forward_pre_hook(
        lambda module, args: seen.update(ours=args[0])
    )
    mlp.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))
        expected = mlp.act_fn(mlp.gate_proj(seen["x"])) * mlp.up_proj(seen["x"])
    torch.testing.assert_close(seen["ours"], expected)


def test_head_length_is_the_length_of_its_contribution(models):
    model = models["bert"][0]
    site = find_sites(model, "attention-head")[0]
    weight = model.get_submodule(site.module).weight.T  # inputs x outputs
    z = torch.randn(16)
    gram = head_gram(model, site)
    for head in range(2):
        part = slice(head * 8, (head + 1) * 8)
        contribution = z[part] @ weight[part]
        ours = (z[part] @ gram[head] @ z[part]).sqrt()
        torch.testing.assert_close(ours, contribution.norm(), rtol=1e-4, atol=1e-5)


def test_modules_by_path_override_the_search(models):
    model = models["gpt2"][0]
    sites = find_sites(model, "ffn", modules=["h.1.mlp.c_proj"])
    assert [(site.layer, site.units) for site in sites] == [(0, 64)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (dict(kind="neurone"), "unknown kind of unit 'neurone'"),
        (dict(kind="ffn", layers=[7]), "no layer 7; its layers are 0 to 1"),
        (dict(kind="ffn", modules=["h.9.mlp"]), "no module 'h.9.mlp'"),
        (dict(kind="ffn", modules=["h.0.mlp"]), "linear map"),
    ],
)
def test_wrong_requests_are_named(models, call, message):
    with pytest.raises(InputError, match=message):
        find_sites(models["gpt2"][0], **call)


def test_a_module_without_blocks_says_how_to_name_them():
    with pytest.raises(InputError, match="--modules"):
        find_sites(nn.Sequential(nn.Linear(2, 2)), "ffn")
