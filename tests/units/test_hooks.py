"""One pass over the texts: what it leaves is what a plain loop finds, however it was cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from saywell.errors import InputError
from saywell.units.hooks import BrokenActivations, TextFeed, run_pass, site_taps
from saywell.units.responses import Shards
from saywell.units.shards import Keep
from saywell.units.sites import Site, find_sites
from saywell.units.tokens import batches, tokenize

SPLITS = {"describe": slice(0, 30), "select": slice(30, 45), "score": slice(45, 60)}


def passed(model, sites, tokens, folder, progress=lambda texts: None, splits=SPLITS, **feed):
    """Run a pass over 60 texts."""
    rows = {name: np.arange(60)[part] for name, part in splits.items()}
    keep = Keep(5, progress=progress)
    run_pass(model, site_taps(model, sites), TextFeed(tokens, **feed), rows, folder, keep)
    return Shards(folder)


def collect(model, tokenizer, sentences, folder, kind="ffn", **feed):
    tokens = tokenize(tokenizer, sentences, max_tokens=24)
    return passed(model, find_sites(model, kind), tokens, folder, **feed), tokens


def by_hand(model, tokenizer, text, site):
    """Token activations [tokens, units] of one text alone, without its special tokens."""
    seen = {}
    module = model.get_submodule(site.module)
    if site.tap == "input":
        hook = module.register_forward_pre_hook(lambda m, args: seen.update(x=args[0]))
    else:
        hook = module.register_forward_hook(
            lambda m, args, out: seen.update(x=out if isinstance(out, torch.Tensor) else out[0])
        )
    encoded = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
    special = encoded.pop("special_tokens_mask")[0].bool()
    encoded.pop("token_type_ids", None)
    with torch.no_grad():
        model(**encoded)
    hook.remove()
    return seen["x"][0][~special]


@pytest.mark.parametrize("kind", ["ffn", "residual"])
def test_pooled_values_are_those_of_each_text_alone(bert, tokenizer, sentences, tmp_path, kind):
    stored, _ = collect(bert, tokenizer, sentences, tmp_path, kind)
    sites = find_sites(bert, kind)
    for split in SPLITS:
        rows, places = stored.parts[split], np.arange(2 * sites[0].units)
        high = stored.read(rows, places)
        low = -stored.read(rows, places, sign=-1)
        for place, text in enumerate(rows):
            alone = torch.cat([by_hand(bert, tokenizer, sentences[text], s) for s in sites], dim=1)
            np.testing.assert_allclose(high[place], alone.amax(0), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(low[place], alone.amin(0), rtol=1e-5, atol=1e-6)


def test_top_examples_are_those_of_a_full_sort_of_what_is_stored(bert, tokenizer, sentences, tmp_path):
    stored, _ = collect(bert, tokenizer, sentences, tmp_path, shard=7)
    for split in ("describe", "select"):
        for sign in (1, -1):
            rows = stored.parts[split]
            values = stored.read(rows, np.arange(64), sign=sign)
            expected = rows[np.argsort(-values, axis=0, kind="stable")[:5].T]
            assert np.array_equal(stored.top(np.sort(rows), 5, sign).examples.numpy(), expected)


def test_the_span_is_the_token_that_reached_the_value(bert, tokenizer, sentences, tmp_path):
    stored, tokens = collect(bert, tokenizer, sentences, tmp_path)
    site = find_sites(bert, "ffn")[0]
    top = stored.top(stored.parts["describe"], 5)
    for unit in range(0, 32, 5):
        text, position = int(top.examples[unit, 0]), int(top.positions[unit, 0])
        alone = by_hand(bert, tokenizer, sentences[text], site)[:, unit]
        # Position 0 is CLS; by_hand has dropped it.
        assert alone[position - 1] == pytest.approx(alone.max().item(), rel=1e-3)
        start, end = tokens.spans[tokens.starts[text] + position]
        assert sentences[text][start:end] == sentences[text].split()[position - 1]


def test_no_unit_fires_on_padding_or_special_tokens(bert, tokenizer, sentences, tmp_path):
    """Special tokens and padding are made to shout; nothing of it may be heard."""

    class Shouting(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.config = inner, inner.config

        def forward(self, input_ids, attention_mask):
            loud = (input_ids <= 3) & (input_ids != 1)

            def shout(module, args):
                return (args[0].masked_fill(loud[..., None], 1e4),)

            hook = self.inner.encoder.layer[0].output.dense.register_forward_pre_hook(shout, prepend=True)
            output = self.inner(input_ids=input_ids, attention_mask=attention_mask)
            hook.remove()
            return output

    model = Shouting(bert)
    tokens = tokenize(tokenizer, sentences, max_tokens=24)
    sites = find_sites(model, "ffn", modules=["inner.encoder.layer.0.output.dense"])
    passed(model, sites, tokens, tmp_path, splits={"score": slice(60)})
    assert np.abs(Shards(tmp_path).read(np.arange(60), np.arange(32))).max() < 100


@pytest.mark.parametrize("settings", [dict(token_budget=30), dict(shard=4), dict(token_budget=10**6)])
def test_batches_and_shards_change_nothing(bert, tokenizer, sentences, tmp_path, settings):
    plain, _ = collect(bert, tokenizer, sentences, tmp_path / "a")
    other, _ = collect(bert, tokenizer, sentences, tmp_path / "b", **settings)
    for split in SPLITS:
        rows, places = plain.parts[split], np.arange(64)
        assert np.array_equal(rows, other.parts[split])
        np.testing.assert_allclose(plain.read(rows, places), other.read(rows, places), rtol=1e-3, atol=1e-4)
    rows = plain.parts["describe"]
    assert (plain.top(rows, 5).examples == other.top(rows, 5).examples).float().mean() > 0.99


def test_the_order_of_the_texts_changes_nothing(bert, tokenizer, sentences, tmp_path):
    tokens = tokenize(tokenizer, sentences, max_tokens=24)
    rows = np.arange(60)
    shuffled = np.random.default_rng(0).permutation(rows)
    feed = TextFeed(tokens)
    assert np.array_equal(feed.order(rows), feed.order(shuffled))


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_a_stopped_pass_goes_on_and_leaves_the_same_files(bert, tokenizer, sentences, tmp_path, stop_after):
    collect(bert, tokenizer, sentences, tmp_path / "whole", shard=6, token_budget=60)

    class Stop(Exception):
        pass

    calls = 0

    def stop(texts):
        nonlocal calls
        calls += texts > 0
        if calls > stop_after:
            raise Stop

    tokens = tokenize(tokenizer, sentences, max_tokens=24)
    run = dict(shard=6, token_budget=60)
    folder = tmp_path / "stopped"
    with pytest.raises(Stop):
        passed(bert, find_sites(bert), tokens, folder, stop, **run)
    passed(bert, find_sites(bert), tokens, folder, **run)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in folder.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_nan_is_refused_with_module_and_text(bert, tokenizer, sentences, tmp_path):
    import copy

    broken = copy.deepcopy(bert)
    word = tokenizer.convert_tokens_to_ids("waiter")
    with torch.no_grad():
        broken.embeddings.word_embeddings.weight[word] = torch.nan
    with pytest.raises(BrokenActivations, match="NaN or infinite") as caught:
        collect(broken, tokenizer, sentences, tmp_path)
    assert "waiter" in sentences[caught.value.example]
    assert "encoder.layer.0.output.dense[0]" in str(caught.value)


@pytest.mark.parametrize("scale", [1e6, 1e-8])
def test_values_that_half_precision_cannot_hold_keep_their_size_and_order(
    bert, tokenizer, sentences, tmp_path, scale
):
    """Residual streams of real models pass 65,504 in some dimensions."""
    import copy

    model = copy.deepcopy(bert)
    with torch.no_grad():
        last = model.encoder.layer[1].output.LayerNorm
        last.weight *= scale
        last.bias += 64 * scale  # far from zero: the texts differ in the last digits only
    stored, _ = collect(model, tokenizer, sentences, tmp_path, "residual")
    site = find_sites(model, "residual")[1]
    rows = stored.parts["describe"]
    values = stored.read(rows, np.arange(16, 32))
    alone = [by_hand(model, tokenizer, sentences[text], site).amax(0) for text in rows]
    np.testing.assert_allclose(values, torch.stack(alone), rtol=1e-6)
    assert all(len(np.unique(column)) > 20 for column in values.T)


def test_a_module_that_does_not_run_is_named(bert, tokenizer, sentences, tmp_path):
    tokens = tokenize(tokenizer, sentences, max_tokens=24)

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = bert, nn.Linear(4, 4)

        def forward(self, **inputs):
            return self.used(**inputs)

    with pytest.raises(InputError, match="'unused' did not run"):
        find_sites(Half(), "ffn", modules=["unused"])
    sites = [Site(0, "ffn", "unused", "input", 4)]
    with pytest.raises(InputError, match="'unused' did not run"):
        passed(Half(), sites, tokens, tmp_path)


def test_attention_heads_are_measured_by_what_they_add(bert, tokenizer, sentences, tmp_path):
    stored, _ = collect(bert, tokenizer, sentences, tmp_path, "attention-head")
    site = find_sites(bert, "attention-head")[0]
    text = int(stored.parts["score"][0])
    z = by_hand(bert, tokenizer, sentences[text], site)
    weight = bert.get_submodule(site.module).weight.T
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        expected = (z[:, part] @ weight[part]).norm(dim=1).max().item()
        assert stored.read(np.array([text]), np.array([head]))[0, 0] == pytest.approx(expected, rel=1e-5)


def test_batches_keep_to_the_budget_and_lose_nothing(tokenizer, sentences):
    tokens = tokenize(tokenizer, sentences, max_tokens=24)
    order = TextFeed(tokens).order(np.arange(60))
    seen = []
    for batch in batches(tokens, order, token_budget=40, pad_id=0):
        assert batch.ids.numel() <= 40 or len(batch.rows) == 1
        assert (batch.ids[batch.attention == 0] == 0).all()
        seen.extend(batch.rows)
    assert seen == list(order)


def test_long_texts_are_cut_at_the_end_and_counted(tokenizer):
    tokens = tokenize(tokenizer, ["good " * 30, "bad"], max_tokens=10)
    assert tokens.cut == 1
    assert tokens.lengths.tolist() == [10, 3]
    assert tokens.ids[9] == 3  # still closed by SEP
    assert tokens.content[:10].sum() == 8
