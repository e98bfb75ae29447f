import numpy as np
import pytest
import torch

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Scaling
from saywell.units.dictionaries.rules import JumpReLU, ReLU, TopK


def dense(codes, rows, latents):
    whole = torch.zeros(rows, latents)
    whole[codes.rows, codes.latents] = codes.values
    return whole


def plain(rule, before):
    """The rule, element by element."""
    after = np.zeros_like(before)
    for row, values in enumerate(before):
        if isinstance(rule, TopK):
            size = np.abs(values) if rule.signed else values
            kept = np.argsort(-size, kind="stable")[: rule.k]
            after[row, kept] = values[kept] if rule.signed else np.maximum(values[kept], 0)
        else:
            edge = rule.thresholds.numpy() if isinstance(rule, JumpReLU) else np.zeros_like(values)
            after[row] = [
                value if value > max(least, 0) else 0 for value, least in zip(values, edge, strict=True)
            ]
    return after


RULES = [ReLU(), TopK(3), TopK(20), TopK(3, signed=True), JumpReLU(torch.linspace(-1, 2, 20))]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_fires_is_what_the_rule_says_in_order(rule):
    before = torch.randn(40, 20, generator=torch.Generator().manual_seed(1))
    codes = rule.select(before)
    assert np.array_equal(dense(codes, 40, 20).numpy(), plain(rule, before.numpy()))
    places = codes.rows * 20 + codes.latents
    assert (places.diff() > 0).all() and (codes.values != 0).all()


def test_a_dictionary_encodes_decodes_moves_and_is_kept(tmp_path):
    random = torch.Generator().manual_seed(2)

    def some(*shape):
        return torch.randn(shape, generator=random)

    made = Dictionary(
        some(20, 6), some(20), some(20, 6), some(6), JumpReLU(some(20)), scaling=Scaling("layer_norm")
    )
    x = some(9, 6)
    mean, size = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    scaled = (x - mean) / (size + 1e-5)
    found = dense(made.encode(x), 9, 20)
    before = (scaled - made.centre) @ made.encoder.T + made.bias
    assert torch.allclose(found, before * (before > made.rule.thresholds.clamp(min=0)), atol=1e-5)
    assert torch.allclose(
        made.decode(made.encode(x), x), (found @ made.decoder + made.centre) * size + mean, atol=1e-5
    )
    made.save(tmp_path / "d.safetensors")
    again = Dictionary.load(tmp_path / "d.safetensors")
    assert again.fingerprint == made.fingerprint == made.to("cpu").fingerprint
    assert torch.equal(dense(again.encode(x), 9, 20), found)
    with pytest.raises(InputError, match="rows of 6 numbers"):
        made.encode(some(9, 5))
    with pytest.raises(InputError, match="NaN"):
        made.encode(x * torch.nan)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_blocks_of_vectors_do_not_count(rule, monkeypatch):
    random = torch.Generator().manual_seed(7)
    encoder, decoder, x = (torch.randn(shape, generator=random) for shape in ((20, 9), (20, 9), (100, 9)))
    made = Dictionary(encoder, torch.zeros(20), decoder, torch.ones(9), rule)
    whole = made.encode(x)
    monkeypatch.setattr("saywell.units.dictionaries.dictionary._CELLS", 60)
    parts = made.encode(x)
    assert torch.equal(whole.rows, parts.rows) and torch.equal(whole.latents, parts.latents)
    assert torch.allclose(whole.values, parts.values, atol=1e-5)
    one_by_one = torch.cat([made.encode(row[None]).values for row in x])
    assert torch.allclose(whole.values, one_by_one, atol=1e-5)
    assert not len(made.encode(x[:0]).rows) and made.decode(made.encode(x[:0]), x[:0]).shape == (0, 9)


def test_a_vector_of_nothing_has_no_length_and_stays_nothing():
    random = torch.Generator().manual_seed(8)
    encoder, decoder, centre = (torch.randn(shape, generator=random) for shape in ((20, 9), (20, 9), (9,)))
    made = Dictionary(encoder, torch.zeros(20), decoder, centre, ReLU(), scaling=Scaling("constant_norm"))
    codes = made.encode(torch.zeros(2, 9))
    assert torch.isfinite(codes.values).all() and len(codes.values)
    assert not made.decode(codes, torch.zeros(2, 9)).any()
