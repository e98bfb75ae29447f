"""A name of a place stands for the numbers that those who made the name mean by it, or for none."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from saywell.data.texts import load_texts
from saywell.data.windows import windows
from saywell.errors import InputError
from saywell.units.blocks import Norm, as_norm
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.rules import ReLU
from saywell.units.hook_points import check_place, feed_of, find_hook, hook_points, hook_tap
from saywell.units.hooks import Shown
from saywell.units.models import LoadedModel, decoding, wrap_model, wrap_vision_model
from saywell.units.places import Places
from saywell.units.probe import first_tensor
from saywell.units.sites import encoder_of
from tiny_causal import letter_tokenizer, tiny

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


def looked_into(family, made=lambda model: encoder_of(model), **sizes):
    """Random, with norms whose weights and biases are not those that do nothing."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = made(transformers.AutoModel.from_config(config)).eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
            elif "embed" in path or "wte" in path:
                weight *= 20
    loaded = LoadedModel(family, model, SimpleNamespace(pad_token_id=0), 32, "")
    return loaded, Places(loaded)


@pytest.fixture(scope="module")
def models():
    return {family: looked_into(family, **sizes) for family, sizes in FAMILIES.items()}


def read(model, name, head=None):
    """What a name stands for, read as a pass reads it."""
    loaded, places = model
    tap, seen = hook_tap(loaded, places.find(name, head)), []
    shown = Shown(np.arange(2), {}, torch.ones(IDS.shape, dtype=torch.bool))
    module = loaded.model.get_submodule(tap.module)

    def before(module, args, named):
        seen.append(tap.view(first_tensor(args, named), shown).clone())

    def after(module, args, output):
        seen.append(tap.view(first_tensor(output), shown).clone())

    if tap.side == "input":
        hook = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        hook = module.register_forward_hook(after)
    with torch.no_grad():
        loaded.model(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    hook.remove()
    (values,) = seen
    assert values.shape == (*IDS.shape, tap.units)
    return values


def states(model):
    with torch.no_grad():
        given = model[0].model(input_ids=IDS, attention_mask=torch.ones_like(IDS), output_hidden_states=True)
    return given.hidden_states


POST_NORM = {"Bert"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 1])
def test_a_name_is_what_it_says(models, family, layer):
    model, own = models[family], states(models[family])
    assert torch.equal(read(model, f"blocks.{layer}.hook_resid_pre"), own[layer])
    out = read(model, f"resid_post.{layer}")
    assert torch.equal(read(model, f"layers_output[{layer}]"), out)
    if layer == 0 or family in POST_NORM:  # the last state of others has gone through the last norm
        assert torch.equal(out, own[layer + 1])
    else:
        assert torch.allclose(read(model, "final_norm"), own[-1])
    attention, more = (read(model, f"blocks.{layer}.hook_{part}_out") for part in ("attn", "mlp"))
    if family == "GPTNeoX":
        assert torch.allclose(out, own[layer] + attention + more, atol=1e-5)
        with pytest.raises(InputError, match="parallel"):
            model[1].find(f"blocks.{layer}.hook_resid_mid")
        return
    middle = read(model, f"blocks.{layer}.hook_resid_mid")
    assert torch.equal(middle, own[layer] + attention)
    assert torch.equal(read(model, f"blocks.{layer}.hook_mlp_in"), middle)
    last = read(model, f"blocks.{layer}.hook_resid_post")
    if family in POST_NORM:
        assert torch.equal(last, read(model, f"mlp_in.{layer}") + more)
        assert torch.equal(read(model, f"blocks.{layer}.hook_normalized_resid_post"), out)
    else:
        assert torch.equal(last, middle + more) and torch.equal(last, out)


@pytest.mark.parametrize("family", ["Gemma2", "Olmo2"])
def test_after_a_norm_of_its_own_is_not_before_it(models, family):
    model = models[family]
    for part, path, norm in (
        ("mlp", "mlp", "post_feedforward_layernorm"),
        ("attn", "self_attn", "post_attention_layernorm"),
    ):
        added, raw = read(model, f"blocks.1.hook_{part}_out"), read(model, f"blocks.1.{part}.hook_out")
        accessor = {"mlp": "mlps_output[1]", "attn": "attentions_output[1]"}[part]
        assert torch.equal(raw, read(model, accessor)) and torch.equal(raw, read(model, f"layers.1.{path}"))
        module = model[0].model.get_submodule(f"layers.1.{norm}")
        with torch.no_grad():
            assert torch.equal(module(raw), added) and not torch.allclose(raw, added, rtol=0.1)
        assert norm in model[1].find(f"{part}_out.1").note


@pytest.mark.parametrize(
    ("family", "part", "norm"),
    [
        ("Llama", "ln2", "layers.1.post_attention_layernorm"),
        ("Llama", "ln1", "layers.1.input_layernorm"),
        ("GPT2", "ln2", "h.1.ln_2"),
        ("Gemma2", "ln2", "layers.1.pre_feedforward_layernorm"),
        ("GPTNeoX", "ln2", "layers.1.post_attention_layernorm"),
        ("Bert", "ln1", "encoder.layer.1.attention.output.LayerNorm"),
        ("OPT", "ln2", "decoder.layers.1.final_layer_norm"),
        ("T5", "ln2", "block.1.layer.1.layer_norm"),
    ],
)
def test_inside_a_norm_is_before_its_weights_where_the_name_says_so(models, family, part, norm):
    """As TransformerLens has it: before the weights of an RMSNorm, after those of a LayerNorm but when folded."""
    model = models[family]
    module = model[0].model.get_submodule(norm)
    named, after = read(model, f"blocks.1.{part}.hook_normalized"), read(model, norm)
    inside = read(model, f"blocks.1.{part}.hook_normalized:folded")
    weight = 1 + module.weight if family == "Gemma2" else module.weight
    own = inside * weight + (module.bias if getattr(module, "bias", None) is not None else 0)
    assert torch.allclose(own, after, atol=1e-5) and not torch.allclose(inside, after, rtol=0.05)
    assert torch.allclose(inside.pow(2).mean(-1), torch.ones(IDS.shape), atol=1e-2)
    rms = family in ("Llama", "Gemma2", "T5")
    assert torch.equal(named, inside if rms else after)
    if family != "Bert":
        assert torch.equal(read(model, {"ln1": "attn_in.1", "ln2": "mlp_in.1"}[part]), after)


def test_what_is_written_to_the_stream_can_be_less_its_mean(models):
    plain, centred = (read(models["GPT2"], f"blocks.1.hook_resid_pre{how}") for how in ("", ":centred"))
    assert torch.allclose(centred, plain - plain.mean(-1, keepdim=True)) and not torch.equal(centred, plain)
    with pytest.raises(InputError, match="leave out ':centred'"):
        models["GPT2"][1].find("z.0:centred")


def test_where_nothing_is_normalised_first_there_is_no_such_norm(models):
    with pytest.raises(InputError, match="no norm gives what that part of block 0 reads"):
        models["Olmo2"][1].find("blocks.0.ln2.hook_normalized")


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_and_heads_are_where_the_field_reads_them(models, family):
    model = models[family]
    neurons, before = read(model, "blocks.1.mlp.hook_post"), read(model, "blocks.1.mlp.hook_pre")
    shape = "gelu_pytorch_tanh" if family == "Gemma2" else None
    act = {"Llama": "silu", "Olmo2": "silu", "GPT2": "gelu_new", "Bert": "gelu", "GPTNeoX": "gelu"}
    from transformers.activations import ACT2FN

    after = ACT2FN[shape or act.get(family, "relu")](before)
    if family in ("Llama", "Gemma2", "Olmo2"):
        after = after * read(model, "blocks.1.mlp.hook_pre_linear")
    else:
        with pytest.raises(InputError, match="has no gate"):
            model[1].find("mlp_pre_linear.1")
    assert torch.allclose(after, neurons, atol=1e-6) and (neurons != 0).any()
    z, second = read(model, "blocks.1.attn.hook_z"), read(model, "z.1", 1)
    assert torch.equal(second, z[..., z.shape[-1] // 2 :])
    point = model[1].find("blocks.1.attn.hook_z")
    with torch.no_grad():
        assert torch.equal(model[0].model.get_submodule(point.module)(z), read(model, "attn_out.1"))
    with pytest.raises(InputError, match="has heads 0 to 1, and not head 2"):
        model[1].find("z.0", 2)


def test_embeddings_are_of_tokens_alone_and_scaled_as_the_model_does():
    gpt2, gemma = (looked_into(family, **FAMILIES[family]) for family in ("GPT2", "Gemma2"))
    assert torch.equal(read(gpt2, "hook_embed"), gpt2[0].model.wte(IDS))
    assert not torch.equal(read(gpt2, "hook_embed"), read(gpt2, "resid_pre.0"))
    assert torch.equal(read(gemma, "hook_embed"), read(gemma, "resid_pre.0"))
    whole = 4 * torch.nn.functional.embedding(IDS, gemma[0].model.embed_tokens.weight)
    assert torch.allclose(read(gemma, "hook_embed"), whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_has_what_can_be_found_and_nothing_else(models, family):
    loaded, places = models[family]
    table = hook_points(loaded)
    assert table.height > 28 and table["transformer_lens"].is_unique().all()
    for row in table.sample(12, seed=0).to_dicts():
        for name in (row["transformer_lens"], row["nnterp"], row["interp_engine"]):
            if name is not None:
                point = places.find(name)
                assert (point.module, point.side, point.width) == (row["module"], row["side"], row["width"])


@pytest.mark.parametrize(
    ("name", "module", "side"),
    [
        ("layers.1.mlp", "layers.1.mlp", "output"),
        ("model.layers.1.mlp:in", "layers.1.mlp", "input"),
        ("model.layers[1].mlp.output", "layers.1.mlp", "output"),
        ("model.layers.1.output", "layers.1", "output"),
        ("model.layers.1.self_attn.o_proj.input", "layers.1.self_attn.o_proj", "input"),
        ("model.layers.1.post_feedforward_layernorm.output", "layers.1.post_feedforward_layernorm", "output"),
        ("model.norm", "norm", "output"),
    ],
)
def test_paths_are_those_of_whole_models_too(models, name, module, side):
    point = models["Gemma2"][1].find(name)
    assert (point.name, point.module, point.side, point.width) == (name, module, side, 16)


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        ("Llama", "blocks.2.hook_resid_post", "its layers are 0 to 1"),
        ("Llama", "layers.7.mlp", "no place 'layers.7.mlp'; near: layers.1.mlp"),
        ("Llama", "blocks.1.hook_resid_pst", "near: blocks.1.hook_resid_post"),
        ("Llama", "", "no place ''"),
        ("GPTNeoX", "resid_mid.0", "parallel"),
        ("Bert", "ln_final.hook_normalized", "no norm reads"),
        ("GPT2", "../h.1", "no place"),
        ("GPT2", "h.1:folded", "leave out ':folded'"),
    ],
)
def test_what_is_no_place_is_said_with_what_is_near(models, family, name, words):
    with pytest.raises(InputError, match=words):
        models[family][1].find(name)


def test_a_sum_that_no_module_reads_or_gives_is_refused():
    """Where what is added is scaled first, no module's output is what is added."""
    granite = looked_into("Granite", **FEW, residual_multiplier=0.5)
    assert torch.equal(read(granite, "resid_post.0"), states(granite)[1])
    with pytest.raises(InputError, match="is not what enters it and the outputs of some of its modules"):
        granite[1].find("blocks.0.hook_mlp_out")


@pytest.mark.parametrize("centres", [True, False])
@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_a_norm_is_told_from_what_it_does(centres, eps):
    module = torch.nn.LayerNorm(12, eps=eps) if centres else torch.nn.RMSNorm(12, eps=eps)
    assert as_norm(module, 12) == Norm(eps, centres)
    module.eps = None
    assert as_norm(module, 12) is None and as_norm(torch.nn.Linear(12, 12), 12) is None
    linear = torch.nn.Linear(12, 12)
    linear.eps = eps
    assert as_norm(linear, 12) is None


# ---- what a model is shown


def shown(feed, rows):
    """Ids, and which of them are content, of each text."""
    found = {}
    for batch in feed.batches(np.asarray(rows)):
        for row, ids, mask, there in zip(
            batch.rows,
            batch.inputs[READ[feed.decoder]],
            batch.mask,
            batch.inputs[MASK[feed.decoder]],
            strict=True,
        ):
            found[int(row)] = (ids[there.bool()].tolist(), mask[there.bool()].tolist())
    return [found[row] for row in rows]


READ = {False: "input_ids", True: "decoder_input_ids"}
MASK = {False: "attention_mask", True: "decoder_attention_mask"}


@pytest.fixture(scope="module")
def letters():
    """GPT-2's kind of tokenizer: it has a BOS, and puts none."""
    return letter_tokenizer()


@pytest.fixture(scope="module")
def causal(letters):
    return wrap_model(tiny("llama", letters).model, letters, "org/tiny-llama")


def texts_of(*more):
    return load_texts([*(f"text number {n} abc" for n in range(12)), *more], near=None)


def test_a_bos_is_put_where_it_is_asked_for_once_and_is_no_content(causal, letters):
    texts = texts_of()
    plain, with_one = (shown(feed_of(causal, texts, bos=bos), [0, 5]) for bos in (None, True))
    bos = letters.bos_token_id
    for (ids, content), (own, counts) in zip(plain, with_one, strict=True):
        assert all(content) and own == [bos, *ids] and counts == [False, *content]
    assert shown(feed_of(causal, texts, bos=False), [0, 5]) == plain
    # What the tokenizer puts itself is not put twice, and is taken away where it is not wanted.
    puts = letter_tokenizer()
    from tokenizers import processors

    puts._tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bos)]
    )
    own = replace(causal, tokenizer=puts)
    assert shown(feed_of(own, texts, bos=True), [0, 5]) == shown(feed_of(own, texts), [0, 5]) == with_one
    assert shown(feed_of(own, texts, bos=False), [0, 5]) == plain
    # Of a text that fills the model, one token less is read.
    full = replace(causal, max_tokens=8)
    ((ids, _),) = shown(feed_of(full, texts, bos=True), [0])
    assert ids == with_one[0][0][:8]
    none = SimpleNamespace(bos_token_id=None)
    with pytest.raises(InputError, match="has no BOS token"):
        feed_of(replace(causal, tokenizer=none), texts, bos=True)


def test_of_windows_that_overlap_each_token_counts_once(causal, letters):
    long = " ".join(f"w{n * n}" for n in range(60))
    texts = windows([*(f"text number {n} abc" for n in range(12)), long], letters, 40, 16, near=None)
    own = texts.table.with_row_index("at").filter(
        pl.col("group").is_in(texts.table.filter(window=1)["group"])
    )
    own = own.sort("window")
    counted = []
    for (ids, content), start in zip(
        shown(feed_of(causal, texts, bos=True), own["at"].to_list()), own["start"], strict=True
    ):
        assert len(ids) <= 41 and long[start:].startswith(letters.decode(ids[1:]))
        counted += [token for token, counts in zip(ids, content, strict=True) if counts]
    assert letters.decode(counted).replace(" ", "") == long.replace(" ", "")


@pytest.mark.parametrize("family", ["T5", "Bart"])
def test_a_decoder_reads_the_text_after_its_start_and_the_encoder_reads_it_too(family, letters):
    import transformers

    torch.manual_seed(0)
    sizes = {
        "T5": dict(vocab_size=len(letters), num_layers=2, num_heads=2, d_model=16, d_ff=24, d_kv=4),
        "Bart": dict(
            vocab_size=len(letters),
            d_model=16,
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=24,
        ),
    }[family]
    config = getattr(transformers, f"{family}Config")(**sizes, decoder_start_token_id=3, pad_token_id=0)
    whole = transformers.AutoModel.from_config(config).eval()
    loaded = wrap_model(decoding(whole), letters, family)
    path = {"T5": "decoder.block.1", "Bart": "decoder.layers.1"}[family]
    assert find_hook(loaded, "resid_post.1").module == find_hook(loaded, path).module == f"model.{path}"
    texts = texts_of()
    feed = feed_of(loaded, texts)
    (batch,) = feed.batches(np.asarray([3]))
    ids = batch.inputs["input_ids"]
    assert batch.inputs["decoder_input_ids"].tolist() == [[3, *ids[0].tolist()]]
    assert batch.mask.tolist() == [[False, *[True] * ids.shape[1]]]
    seen = []
    tap = hook_tap(loaded, find_hook(loaded, "resid_post.0"))
    module = loaded.model.get_submodule(tap.module)
    hook = module.register_forward_hook(
        lambda m, a, output: seen.append(tap.view(first_tensor(output), batch))
    )
    with torch.no_grad():
        loaded.model(**batch.inputs)
        hook.remove()
        again = whole(
            input_ids=ids, decoder_input_ids=batch.inputs["decoder_input_ids"], output_hidden_states=True
        )
    assert torch.allclose(seen[0], again.decoder_hidden_states[1], atol=1e-6)
    attention, cross = (read_at(loaded, name, batch) for name in ("attn_out_post.0", "resid_mid.0"))
    assert torch.allclose(again.decoder_hidden_states[0] + attention, cross, atol=1e-6)
    with pytest.raises(InputError, match="no encoder-decoder"):
        decoding(whole.encoder)


def read_at(loaded, name, batch):
    tap, seen = hook_tap(loaded, find_hook(loaded, name)), []
    module = loaded.model.get_submodule(tap.module)
    if tap.side == "input":
        hook = module.register_forward_pre_hook(
            lambda m, a, k: seen.append(tap.view(first_tensor(a, k), batch)), with_kwargs=True
        )
    else:
        hook = module.register_forward_hook(
            lambda m, a, output: seen.append(tap.view(first_tensor(output), batch))
        )
    with torch.no_grad():
        loaded.model(**batch.inputs)
    hook.remove()
    return seen[0]


# ---- pictures


@pytest.fixture(scope="module", params=["CLIP", "Siglip"])
def towers(request, letters):
    """A tiny dual encoder: its text tower and its vision tower."""
    import transformers

    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    config = getattr(transformers, f"{request.param}Config")(
        text_config=dict(sizes, vocab_size=len(letters), max_position_embeddings=24, eos_token_id=256),
        vision_config=dict(sizes, image_size=32, patch_size=8),
    )
    both = transformers.AutoModel.from_config(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    text = wrap_model(both.text_model, letters, "both")
    return text, wrap_vision_model(both.vision_model, processor, "both")


def test_both_towers_have_places_and_pictures_a_grid(towers):
    text, seeing = towers
    assert find_hook(text, "text_model.encoder.layers.1").module == "encoder.layers.1"
    assert hook_points(text).height > 30
    point = find_hook(seeing, "vision_model.encoder.layers.1")
    assert point.place.grid == (4, 4) and point.width == 16
    pixels = torch.rand(2, 3, 32, 32)
    batch = Shown(np.arange(2), {"pixel_values": pixels})
    values = read_at(seeing, "blocks.1.hook_resid_post", batch)
    assert values.shape == (2, 16, 16)
    with torch.no_grad():
        given = seeing.model(pixel_values=pixels, output_hidden_states=True)
    own = given.hidden_states[1][:, -16:]
    assert torch.allclose(read_at(seeing, "resid_pre.1", batch), own, atol=1e-6)
    attention = read_at(seeing, "blocks.1.hook_attn_out", batch)
    assert torch.allclose(read_at(seeing, "blocks.1.hook_resid_mid", batch), own + attention, atol=1e-6)
    pooled = read_at(seeing, "pooled", batch)
    assert pooled.shape == (2, 1, 16) and torch.allclose(pooled[:, 0], given.pooler_output, atol=1e-6)
    assert find_hook(seeing, "pooled").place.grid is None
    assert read_at(seeing, "z.0", batch).shape == (2, 16, 16)
    rows = hook_points(seeing).filter(pl.col("layer") == 0)
    assert (rows["rows"] == 4).all() and rows.height > 12


# ---- a dictionary and a place


def dictionary(width, **made):
    gauss = torch.randn(8, width, generator=torch.Generator().manual_seed(0))
    own = Dictionary(gauss, torch.zeros(8), gauss, torch.zeros(width), ReLU())
    return SimpleNamespace(dictionary=own, made=Made("saelens", **made))


def checked(model, made, name, **more):
    loaded, places = model
    return check_place(made, loaded, places.find(name), **more)


def test_a_dictionary_of_another_width_is_refused_with_what_would_fit(models):
    llama = models["Llama"]
    with pytest.raises(
        InputError, match=r"reads 24 .* has 16; places of that width: blocks\.0\.mlp\.hook_pre"
    ):
        checked(llama, dictionary(24), "resid_post.0")
    own = dictionary(24, hook="blocks.1.mlp.hook_post")
    with pytest.raises(InputError, match=r"it was made at 'blocks\.1\.mlp\.hook_post', which has 24"):
        checked(llama, own, "resid_post.0")
    with pytest.raises(InputError, match="no place in this model has 768; it was made on 'gpt2'"):
        checked(llama, dictionary(768, model="gpt2"), "resid_post.0")
    with pytest.raises(InputError, match="of 2 heads: it is one of a single head"):
        checked(llama, dictionary(8), "z.0")
    one = find_hook(llama[0], "z.0", 1)
    assert check_place(dictionary(8, hook="blocks.0.attn.hook_z", head=1), llama[0], one) == []


def test_a_transcoder_of_another_width_than_where_it_leads_is_refused(models):
    wide = dictionary(16, hook="blocks.0.hook_resid_mid", hook_out="blocks.0.mlp.hook_post")
    with pytest.raises(InputError, match=r"gives is 16 numbers, and 'blocks.0.mlp.hook_post' .* has 24"):
        checked(models["Llama"], wide, "resid_mid.0")
    with pytest.raises(InputError, match=r"blocks.9.hook_mlp_out"):
        away = dictionary(16, hook="blocks.0.hook_resid_mid", hook_out="blocks.9.hook_mlp_out")
        checked(models["Llama"], away, "resid_mid.0")


@pytest.mark.parametrize(
    ("family", "hook", "used", "words"),
    [
        ("Llama", "blocks.1.hook_resid_post", "layers.1", None),
        ("Llama", "blocks.1.hook_resid_pre", "resid_post.0", None),
        ("Llama", "blocks.1.hook_mlp_out", "layers.1.mlp", None),
        ("Llama", "blocks.0.hook_resid_post", "resid_post.1", "made at 'blocks.0.hook_resid_post'"),
        ("Gemma2", "blocks.1.hook_mlp_out", "layers.1.mlp", "after the norm; 'layers.1.mlp' is before it"),
        ("Gemma2", "layers.1.mlp", "blocks.1.hook_mlp_out", "after the norm"),
        ("Gemma2", "blocks.1.ln2.hook_normalized", "mlp_in.1", "before the weights of"),
        ("GPT2", "blocks.1.ln2.hook_normalized", "mlp_in.1", None),
        ("GPT2", "blocks.1.hook_resid_pre:centred", "resid_pre.1", "less its mean"),
        ("Gemma2", "blocks.1.hook_mlp_in", "mlp_in.1", "other numbers"),
        ("GPTNeoX", "blocks.1.hook_resid_mid", "resid_pre.1", "not found here: .*parallel"),
        ("Llama", "blocks.7.hook_resid_post", "resid_post.1", "not found here: .*its layers are 0 to 1"),
    ],
)
def test_another_place_than_that_of_training_is_said(models, family, hook, used, words):
    said = checked(models[family], dictionary(16, hook=hook), used)
    assert said == [] if words is None else len(said) == 1 and re.search(words, said[0])


def test_another_model_bos_context_or_precision_is_said(models):
    model, made = models["Llama"], dictionary(16, model="meta-llama/Llama", bos=True, context=128)
    assert checked(model, made, "resid_post.0", bos=True, context=128) == []
    said = checked(model, made, "resid_post.0", bos=False, context=512)
    assert len(said) == 2 and "BOS" in said[0] and "128 tokens, and here up to 512" in said[1]
    (said,) = checked(model, dictionary(16, model="gemma-2-2b"), "resid_post.0")
    assert "made on 'gemma-2-2b', and this is 'Llama'" in said
    half = looked_into("GPT2", lambda model: model.to(torch.bfloat16), **FAMILIES["GPT2"])
    assert half[1].find("blocks.0.ln2.hook_normalized:folded").norm and half[1].find("resid_mid.1")
    assert "bfloat16" in checked(half, dictionary(16), "resid_post.0")[0]


def test_of_an_image_model_without_blocks_modules_are_places():
    import transformers

    torch.manual_seed(0)
    config = transformers.MobileNetV2Config(image_size=64, depth_multiplier=0.25, num_labels=6)
    processor = transformers.MobileNetV2ImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    model = wrap_vision_model(transformers.MobileNetV2ForImageClassification(config), processor, "mobilenet")
    table = hook_points(model)
    assert table.height > 50 and table["transformer_lens"].null_count() == table.height
    batch = Shown(np.arange(2), {"pixel_values": torch.rand(2, 3, 64, 64)})
    last = table.filter(pl.col("rows").is_not_null()).row(-1, named=True)
    values = read_at(model, last["module"], batch)
    assert values.shape == (2, last["rows"] * last["columns"], last["width"])
    with torch.no_grad():
        logits = model.model(**batch.inputs).logits
    assert torch.equal(read_at(model, "outputs", batch)[:, 0], logits)
    assert find_hook(model, "channels").place.grid == (2, 2)
    with pytest.raises(InputError, match="gives one vector of a picture"):
        find_hook(model, "pooled")


def test_the_gate_is_told_from_what_it_is_multiplied_with_in_either_order():
    def swapped(model):
        for block in model.layers:
            block.mlp._modules = {name: block.mlp._modules[name] for name in reversed(block.mlp._modules)}
        return model

    _, places = looked_into("Llama", swapped, **FEW)
    assert places.find("mlp_pre.1").module == "layers.1.mlp.gate_proj"
    assert places.find("mlp_pre_linear.1").module == "layers.1.mlp.up_proj"
