"""Units are found by structure in every family, and read where the field reads them; or not at all."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from saywell.errors import InputError
from saywell.units.models import wrap_model
from saywell.units.sites import encoder_of, find_sites, head_gram

SIZE = dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
WIDE = dict(
    SIZE, intermediate_size=24, max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2
)
FEW = dict(WIDE, num_key_value_heads=1)  # keys and values shared by heads
EXPERTS = dict(FEW, head_dim=8, moe_intermediate_size=8, num_experts_per_tok=2)
DEEPSEEK = dict(
    WIDE,
    moe_intermediate_size=8,
    num_experts_per_tok=2,
    n_routed_experts=4,
    n_group=1,
    n_shared_experts=2,
    first_k_dense_replace=1,
    topk_group=1,
    kv_lora_rank=8,
    qk_rope_head_dim=4,
    qk_nope_head_dim=4,
    v_head_dim=8,
    num_key_value_heads=2,
)
OPT = dict(SIZE, ffn_dim=24, max_position_embeddings=32)
BART = dict(
    vocab_size=40,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
)
T5 = dict(vocab_size=40, num_layers=2, num_heads=2, d_model=16, d_ff=24, d_kv=4)
GPT2 = dict(vocab_size=40, n_layer=2, n_head=2, n_embd=16)

# By configuration: its sizes, what ends the path of the feed-forward units (a string) or the error's
# words (a list), and the same for heads where they are not found.
ZOO = {
    "Bert": (WIDE, "output.dense 24"),
    "Roberta": (WIDE | {"pad_token_id": 1}, "output.dense 24"),
    "XLMRoberta": (WIDE | {"pad_token_id": 1}, "output.dense 24"),
    "IBert": (WIDE | {"pad_token_id": 1}, "output.dense 24"),
    "XLM": (dict(vocab_size=40, emb_dim=16, n_layers=2, n_heads=2), "ffns.1.lin2 64", ["no attention"]),
    "DistilBert": (dict(vocab_size=40, n_layers=2, n_heads=2, dim=16, hidden_dim=24), "ffn.lin2 24"),
    "Albert": (WIDE | {"embedding_size": 8}, ["ran 2 times", "share their weights"], ["ran 2 times"]),
    "MPNet": (WIDE | {"pad_token_id": 1}, "output.dense 24"),
    "Electra": (WIDE | {"embedding_size": 8}, "output.dense 24"),
    "DebertaV2": (WIDE, "output.dense 24"),
    "ModernBert": (WIDE | dict(cls_token_id=1, sep_token_id=2), "mlp.Wo 24"),
    "XLNet": (
        dict(vocab_size=40, d_model=16, n_layer=2, n_head=2, d_inner=24),
        ["(5, 2, 24) values"],
        ["no attention"],
    ),
    "GPT2": (GPT2, "mlp.c_proj 64"),
    "GPTNeoX": (WIDE, "mlp.dense_4h_to_h 24"),
    "OPT": (OPT | {"word_embed_proj_dim": 16}, "fc2 24"),
    "OPT post-norm": (OPT | {"word_embed_proj_dim": 8, "do_layer_norm_before": False}, "fc2 24"),
    "Bloom": (dict(vocab_size=40, hidden_size=16, n_layer=2, n_head=2), "mlp.dense_4h_to_h 64"),
    "Falcon": (SIZE, "mlp.dense_4h_to_h 64"),
    "Llama": (FEW, "mlp.down_proj 24"),
    "Mixtral": (FEW | {"num_local_experts": 4}, ["layer 0", "experts, each of which"]),
    "Qwen2Moe": (
        EXPERTS | dict(num_experts=4, shared_expert_intermediate_size=12, decoder_sparse_step=2),
        ["layer 1", "mlp.shared_expert.down_proj", "--layers 0"],
    ),
    "Qwen3Moe": (EXPERTS | dict(num_experts=4, mlp_only_layers=[0]), ["layer 1", "--layers 0"]),
    "Gemma2": (FEW | {"head_dim": 8}, "mlp.down_proj 24"),
    "Gemma3Text": (FEW | {"head_dim": 8}, "mlp.down_proj 24"),
    "DeepseekV2": (DEEPSEEK | {"q_lora_rank": None}, ["layer 1", "mlp.experts", "--layers 0"]),
    "DeepseekV3": (DEEPSEEK | {"q_lora_rank": 8}, ["layer 1", "mlp.experts", "--layers 0"]),
    "Llama square": (FEW | {"intermediate_size": 16}, "mlp.down_proj 16"),
    "Bert square": (WIDE | {"intermediate_size": 16}, "output.dense 16"),
    "Olmo2": (FEW, "mlp.down_proj 24"),
    "Phi": (WIDE, "mlp.fc2 24"),
    "Lfm2": (
        FEW | {"layer_types": ["conv", "full_attention"]},
        "feed_forward.w2 256",
        ["layer 0", "no attention", "--layers 1"],
    ),
    "Jamba": (
        FEW
        | dict(
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            num_experts=4,
            expert_layer_offset=1,
            mamba_d_state=4,
            use_mamba_kernels=False,
        ),
        ["layer 1", "--layers 0"],
        ["layer 0", "--layers 1"],
    ),
    "T5": (T5, "DenseReluDense.wo 24"),
    "T5 gated": (T5 | {"feed_forward_proj": "gated-gelu"}, "DenseReluDense.wo 24"),
    "Bart": (BART, "fc2 24"),
    "PegasusX": (BART | {"block_size": 4, "num_global_tokens": 2}, ["ran 2 times"], ["ran 2 times"]),
    "Mra": (WIDE, "output.dense 24", ["does not mix the tokens"]),  # attends on an accelerator only
    "Mamba": (dict(SIZE, state_size=4), ["mixer.out_proj", "mixer.A_log"], ["no attention"]),
    "Rwkv": (
        dict(vocab_size=40, hidden_size=16, num_hidden_layers=2, intermediate_size=24),
        ["feed_forward.receptance"],
        ["None heads"],
    ),
}
RESIDUAL = {
    "XLM": "layer_norm2.1",
    "Albert": ["1 blocks", "2 layers"],
    "XLNet": ["not the model's hidden state"],
    "PegasusX": ["(2, 8, 16) values"],
}


def tiny(family: str) -> nn.Module:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family.split()[0]}Config")(**ZOO[family][0])
    return encoder_of(transformers.AutoModel.from_config(config)).eval()


@pytest.fixture(scope="module")
def models():
    return {name: tiny(family) for name, family in {"bert": "Bert", "gpt2": "GPT2", "llama": "Llama"}.items()}


@pytest.mark.parametrize("family", ZOO)
def test_every_place_is_the_right_one_or_an_error(family):
    model = tiny(family)
    _, ffn, *heads = ZOO[family]
    expected = {"ffn": ffn, "residual": RESIDUAL.get(family, "1 16"), "attention-head": (heads or [" 2"])[0]}
    for kind, what in expected.items():
        if isinstance(what, list):
            with pytest.raises(InputError) as caught:
                find_sites(model, kind)
            assert all(words in str(caught.value) for words in what), str(caught.value)
        else:
            sites = find_sites(model, kind)
            assert [site.layer for site in sites] == [0, 1]
            assert f"{sites[1].module} {sites[1].units}".endswith(what) or kind == "residual"
            assert kind != "residual" or sites[1].module.endswith(what.split()[0])


@pytest.mark.parametrize(
    ("family", "kind", "layer", "module", "units"),
    [
        ("DeepseekV2", "ffn", 0, "layers.0.mlp.down_proj", 24),
        ("Qwen3Moe", "ffn", 0, "layers.0.mlp.down_proj", 24),
        ("Lfm2", "attention-head", 1, "layers.1.self_attn.out_proj", 2),
        ("Jamba", "ffn", 0, "layers.0.feed_forward.down_proj", 24),
    ],
)
def test_only_layers_that_were_asked_for_are_looked_at(family, kind, layer, module, units):
    sites = find_sites(tiny(family), kind, layers=[layer])
    assert [(s.layer, s.module, s.units) for s in sites] == [(layer, module, units)]


class Attention(nn.Module):
    """Four heads in a model whose configuration says two; `mix` is what they do with the tokens."""

    def __init__(self, size=4, mix=lambda values: values.cumsum(1)):
        super().__init__()
        self.num_heads, self.head_dim, self.mix = 4, size, mix
        self.value, self.back = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x):
        return self.back(self.mix(self.value(x)))


class Network(nn.Module):
    """Blocks around parts, then what a model does to its last hidden state."""

    def __init__(self, *parts, inner=24):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=16, intermediate_size=inner, num_attention_heads=2)
        self.words = nn.Embedding(40, 16)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"attention" if isinstance(p, Attention) else "part": p}) for p in parts
        )
        for block in self.blocks:
            block.forward = lambda x, block=block: x + next(iter(block.values()))(x)
        self.norm, self.projection = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, input_ids, attention_mask, output_hidden_states=False):
        states = [self.words(input_ids)]
        for block in self.blocks:
            states.append(block(states[-1]))
        states[-1] = self.projection(self.norm(states[-1]))
        return SimpleNamespace(hidden_states=states, values=lambda: iter(states[-1:]))


def chain(*widths):
    maps = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*(part for m in maps for part in (m, nn.GELU())))


def test_heads_are_counted_by_their_own_attention():
    sites = find_sites(Network(Attention(), Attention()), "attention-head")
    assert [(site.module, site.heads) for site in sites] == [
        (f"blocks.{n}.attention.back", 4) for n in range(2)
    ]
    with pytest.raises(InputError, match=r"16 attention outputs into heads.* 4 heads of 3 values"):
        find_sites(Network(Attention(size=3), Attention(size=3)), "attention-head")


def test_heads_mix_tokens_or_are_none():
    still = Attention(mix=lambda values: values * 2)
    with pytest.raises(InputError, match=r"'blocks\.1\.attention\.back' does not mix the tokens"):
        find_sites(Network(Attention(), still), "attention-head")


def test_a_map_that_is_part_of_a_map_is_not_what_heads_add():
    class Wrapped(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base, self.more = base, nn.Parameter(torch.randn(16, 16))

        def forward(self, x):
            return self.base(x) + x @ self.more

    one, two = Attention(), Attention()
    two.back = Wrapped(two.back)
    with pytest.raises(InputError, match=r"'blocks\.1\.attention\.back' has more than .*back\.base'"):
        find_sites(Network(one, two), "attention-head")


@pytest.mark.parametrize(
    ("widths", "words"), [((16, 16, 16, 16), "do not read the same"), ((16, 5, 16), "no feed-forward part")]
)
def test_of_square_maps_no_inner_one_is_taken_for_the_layers(widths, words):
    """A low-rank pair in the place of a map, where the hidden width is the model's own."""
    assert find_sites(Network(chain(16, 16, 16), chain(16, 16, 16), inner=16))[1].width == 16
    with pytest.raises(InputError, match=words):
        find_sites(Network(chain(*widths), chain(*widths), inner=16))


def test_what_follows_the_last_block_is_not_its_residual_stream():
    sites = find_sites(Network(chain(16, 24, 16), chain(16, 24, 16)), "residual")
    assert [site.module for site in sites] == ["blocks.0", "blocks.1"]


class LowRank(nn.Module):
    """A map with a low-rank adapter, built as the adapters of the field are."""

    def __init__(self, base: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base_layer, self.in_features, self.out_features = base, inputs, outputs
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inputs, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, outputs, bias=False)})

    def forward(self, x):
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))


def test_adapters_are_part_of_the_map_that_they_adapt():
    model = tiny("GPT2")
    plain = {kind: find_sites(model, kind) for kind in ("ffn", "attention-head")}
    for block in model.h:
        block.mlp.c_proj = LowRank(block.mlp.c_proj, 64, 16)
        block.mlp.c_fc = LowRank(block.mlp.c_fc, 16, 64)
        block.attn.c_proj = LowRank(block.attn.c_proj, 16, 16)
    assert {kind: find_sites(model, kind) for kind in plain} == plain
    site = plain["attention-head"][0]
    module, z = model.get_submodule(site.module), torch.randn(1, 16)
    z[:, 8:] = 0  # what head 0 adds, by the map itself
    added = module(z) - module(torch.zeros_like(z))
    length = (z[0, :8] @ head_gram(model, site)[0] @ z[0, :8]).sqrt()
    torch.testing.assert_close(length, added.norm(), rtol=1e-4, atol=1e-5)


def test_a_map_that_mixes_tokens_is_no_feed_forward_part():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)

        def forward(self, x):
            return x + self.down(self.up(x).cumsum(1))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(40, 16)
            self.blocks = nn.ModuleList([Mixing(), Mixing()])

        def forward(self, input_ids, attention_mask):
            x = self.words(input_ids)
            for block in self.blocks:
                x = block(x)
            return x

    with pytest.raises(InputError, match=r"'blocks\.0\.down' is not made by 'blocks\.0\.up' from each"):
        find_sites(Model(), "ffn")
    assert [s.module for s in find_sites(Model(), "residual")] == ["blocks.0", "blocks.1"]


@pytest.mark.parametrize(
    ("family", "more", "longest"),
    [
        ("Roberta", {}, 30),
        ("Bert", {}, 32),
        ("OPT", {}, 32),
        ("GPT2", {"n_positions": 20}, 20),
        ("MPNet", {}, 30),
        ("Llama", {}, 32),
    ],
)
def test_the_longest_text_is_the_longest_that_runs(family, more, longest, tokenizer, monkeypatch):
    monkeypatch.setitem(ZOO, family, (ZOO[family][0] | more, ""))
    monkeypatch.setattr(tokenizer, "model_max_length", 10**30)
    loaded = wrap_model(tiny(family), tokenizer)
    assert loaded.max_tokens == longest
    ids = torch.full((1, longest + 1), 7)
    loaded.model(input_ids=ids[:, 1:])
    if family != "Llama":  # which rotates, and would run on
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=ids)


def test_ffn_units_of_bert_are_the_activated_neurons(models):
    model = models["bert"].eval()
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
    model = models["llama"].eval()
    seen = {}
    mlp = model.layers[1].mlp
    site = find_sites(model, "ffn", layers=[1])[0]
    model.get_submodule(site.module).register_forward_pre_hook(lambda module, args: seen.update(ours=args[0]))
    mlp.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))
        expected = mlp.act_fn(mlp.gate_proj(seen["x"])) * mlp.up_proj(seen["x"])
    torch.testing.assert_close(seen["ours"], expected)


@pytest.mark.parametrize("family", ["Bert", "IBert"])  # of which one returns more than a tensor
def test_head_length_is_the_length_of_its_contribution(family):
    model = tiny(family)
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
    model = models["gpt2"]
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
        find_sites(models["gpt2"], **call)


def test_a_module_without_blocks_says_how_to_name_them():
    with pytest.raises(InputError, match="--modules"):
        find_sites(nn.Sequential(nn.Linear(2, 2)), "ffn")
