"""A name of a place stands for the numbers that those who made the name mean by it, or for none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from saywell.errors import InputError
from saywell.units.hook_points import find_hook, hook_tap
from saywell.units.hooks import Shown
from saywell.units.models import LoadedModel
from saywell.units.sites import encoder_of

WIDE = dict(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=32,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
FEW = dict(WIDE, num_key_value_heads=1)
FAMILIES = {
    "Llama": FEW,
    "GPT2": dict(vocab_size=40, n_layer=2, n_head=2, n_embd=16, bos_token_id=1, eos_token_id=2),
    "Gemma2": FEW | {"head_dim": 8},
    "Olmo2": FEW,
    "GPTNeoX": WIDE,
    "Bert": WIDE,
    "T5": dict(vocab_size=40, num_layers=2, num_heads=2, d_model=16, d_ff=24, d_kv=4),
    "OPT": dict(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=24,
        max_position_embeddings=32,
        word_embed_proj_dim=16,
    ),
}
IDS = torch.tensor([[5, 9, 3, 30], [7, 7, 21, 4]])


@pytest.fixture(scope="module")
def models():
    """Random, with norms whose weights and biases are not those that do nothing."""
    import transformers

    made = {}
    for family, sizes in FAMILIES.items():
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(**sizes)
        model = encoder_of(transformers.AutoModel.from_config(config)).eval()
        with torch.no_grad():
            for path, weight in model.named_parameters():
                if weight.ndim == 1:
                    weight += 0.3 * torch.randn_like(weight)
                elif "embed" in path or "wte" in path:
                    weight *= 20
        made[family] = LoadedModel(family, model, SimpleNamespace(pad_token_id=0), 32, "")
    return made


def read(loaded, name):
    """What a name stands for, read as a pass reads it."""
    tap, seen = hook_tap(loaded, find_hook(loaded, name)), []
    module = loaded.model.get_submodule(tap.module)
    shown = Shown(None, {}, torch.ones(IDS.shape, dtype=torch.bool))

    def note(args, named):
        from saywell.units.probe import first_tensor

        seen.append(tap.view(first_tensor(args, named), shown).clone())

    if tap.side == "input":
        hook = module.register_forward_pre_hook(lambda m, a, k: note(a, k), with_kwargs=True)
    else:
        hook = module.register_forward_hook(lambda m, a, output: note(output, None))
    with torch.no_grad():
        loaded.model(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    hook.remove()
    (values,) = seen
    assert values.shape == (*IDS.shape, tap.units)
    return values


def states(loaded):
    with torch.no_grad():
        given = loaded.model(input_ids=IDS, attention_mask=torch.ones_like(IDS), output_hidden_states=True)
    return given.hidden_states


POST_NORM = {"Bert"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 1])
def test_a_name_is_what_it_says(models, family, layer):
    loaded, own = models[family], states(models[family])
    assert torch.equal(read(loaded, f"blocks.{layer}.hook_resid_pre"), own[layer])
    out = read(loaded, f"resid_post.{layer}")
    assert torch.equal(read(loaded, f"layers_output[{layer}]"), out)
    if layer == 0 or family in POST_NORM:  # the last state of others has gone through the last norm
        assert torch.equal(out, own[layer + 1])
    else:
        assert torch.allclose(read(loaded, "final_norm"), own[-1])
    attention, more = (read(loaded, f"blocks.{layer}.hook_{part}_out") for part in ("attn", "mlp"))
    if family == "GPTNeoX":
        assert torch.allclose(out, own[layer] + attention + more, atol=1e-5)
        with pytest.raises(InputError, match="parallel"):
            find_hook(loaded, f"blocks.{layer}.hook_resid_mid")
        return
    middle = read(loaded, f"blocks.{layer}.hook_resid_mid")
    assert torch.equal(middle, own[layer] + attention)
    assert torch.equal(read(loaded, f"blocks.{layer}.hook_mlp_in"), middle)
    last = read(loaded, f"blocks.{layer}.hook_resid_post")
    if family in POST_NORM:
        assert torch.equal(last, read(loaded, f"mlp_in.{layer}") + more)
        assert torch.equal(read(loaded, f"blocks.{layer}.hook_normalized_resid_post"), out)
    else:
        assert torch.equal(last, middle + more) and torch.equal(last, out)


@pytest.mark.parametrize("family", ["Gemma2", "Olmo2"])
def test_after_a_norm_of_its_own_is_not_before_it(models, family):
    loaded = models[family]
    for part, path, norm in (
        ("mlp", "mlp", "post_feedforward_layernorm"),
        ("attn", "self_attn", "post_attention_layernorm"),
    ):
        added, raw = read(loaded, f"blocks.1.hook_{part}_out"), read(loaded, f"blocks.1.{part}.hook_out")
        accessor = {"mlp": "mlps_output[1]", "attn": "attentions_output[1]"}[part]
        assert torch.equal(raw, read(loaded, accessor)) and torch.equal(raw, read(loaded, f"layers.1.{path}"))
        module = loaded.model.get_submodule(f"layers.1.{norm}")
        with torch.no_grad():
            assert torch.equal(module(raw), added) and not torch.allclose(raw, added, rtol=0.1)
        assert norm in find_hook(loaded, f"{part}_out.1").note
