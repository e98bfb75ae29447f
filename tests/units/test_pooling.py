"""Pooling against a loop over texts and tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.units.pooling import POOLINGS, pool_tokens


def loop(tokens: torch.Tensor, mask: torch.Tensor, pool: str):
    """(high, low) per text and unit, one text and unit at a time."""
    high, low = torch.zeros(len(tokens), tokens.shape[2]), torch.zeros(len(tokens), tokens.shape[2])
    for text in range(len(tokens)):
        real = tokens[text][mask[text]]
        for unit in range(tokens.shape[2]):
            values = [float(v) for v in real[:, unit]]
            one = {"mean": sum(values) / len(values), "cls": values[0], "last": values[-1]}
            high[text, unit] = max(values) if pool == "max" else one[pool]
            low[text, unit] = min(values) if pool == "max" else one[pool]
    return high, low


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    length=st.integers(1, 40),
    pool=st.sampled_from(POOLINGS),
    data=st.data(),
)
def test_pooling_equals_a_loop(seed, batch, length, pool, data):
    tokens = torch.randn(batch, length, 3, generator=torch.Generator().manual_seed(seed)) * 3
    mask = torch.zeros(batch, length, dtype=torch.bool)
    for row in range(batch):
        real = data.draw(st.sets(st.integers(0, length - 1), min_size=1))
        mask[row, list(real)] = True
    tokens[~mask] = 1e6 * (1 if seed % 2 else -1)  # what is masked must never show
    pooled = pool_tokens(tokens, mask, pool)
    high, low = loop(tokens, mask, pool)
    exact = dict(rtol=1e-6, atol=1e-6) if pool == "mean" else dict(rtol=0, atol=0)
    torch.testing.assert_close(pooled.high, high, **exact)
    torch.testing.assert_close(pooled.low, low, **exact)
    if pool == "max":
        precision = dict(rtol=2**-12, atol=1e-6)
        for side, place in ((high, pooled.high_position), (low, pooled.low_position)):
            at = tokens.gather(1, place.long()[:, None, :])[:, 0]
            torch.testing.assert_close(at, side, **precision)


def test_positions_are_those_of_the_extreme_tokens():
    tokens = torch.tensor([[[0.0], [5.0], [-3.0], [9.0]]])
    mask = torch.tensor([[True, True, True, False]])
    pooled = pool_tokens(tokens, mask, "max")
    assert (pooled.high.item(), pooled.low.item()) == (5.0, -3.0)
    assert (pooled.high_position.item(), pooled.low_position.item()) == (1, 2)


@pytest.mark.parametrize("pool", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tokens_pool_like_float(pool, dtype):
    tokens = torch.randn(3, 300, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    tokens[..., 0] = 60_000  # the sum of which float16 cannot hold, and the mean of which it can
    mask = torch.ones(3, 300, dtype=torch.bool)
    half, full = pool_tokens(tokens, mask, pool), pool_tokens(tokens.float(), mask, pool)
    assert torch.equal(half.high, full.high) and torch.equal(half.low, full.low)
    assert half.high.dtype == torch.float32 and half.high.isfinite().all()


@pytest.mark.parametrize("pool", POOLINGS)
def test_neighbours_in_the_batch_and_what_padding_holds_change_nothing(pool):
    tokens = torch.randn(4, 50, 6, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(50) < torch.tensor([3, 9, 33, 50])[:, None]
    tokens[~mask] = torch.nan
    together = pool_tokens(tokens, mask, pool)
    for row in range(4):
        length = int(mask[row].sum())
        alone = pool_tokens(tokens[row : row + 1, :length], mask[row : row + 1, :length], pool)
        for ours, own in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[row : row + 1], own, rtol=1e-6, atol=1e-7)
