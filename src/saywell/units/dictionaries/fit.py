"""How well a dictionary fits what is at its place, on a user's own data, before anything is described."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary


class Fit(NamedTuple):
    """Of a dictionary on some tokens."""

    explained: float
    """Share of variance that is kept; 1 is best, 0 as good as the mean alone, NaN where nothing varies."""
    active: float
    """Latents that fire at a token, on average (L0)."""
    dead: int
    """Latents that fire at none."""
    tokens: int


def measure(dictionary: Dictionary, batches: Iterable[Tensor | tuple[Tensor, Tensor]]) -> Fit:
    """How well a dictionary fits vectors, [tokens, width] at a time: of a transcoder, pairs of in and out.

    Explained is 1 - sum |y - decoded|^2 / sum |y - mean y|^2, over all dimensions and tokens together: the
    `explained_variance` of sae_lens 6.54 (its `..._legacy` is a mean over tokens of shares of each), and 1 -
    FVU of sparsify 1.3.3. Sums are in double precision and batches are merged as by Chan et al. 1979,
    so how tokens are cut into batches does not matter. Memory is that of a batch.

    Raises InputError for no vectors, for those that the dictionary cannot encode, and where it overflows.
    """
    tokens, active, left, around = 0, 0, 0.0, 0.0
    fired = torch.zeros(dictionary.latents, dtype=torch.bool, device=dictionary.encoder.device)
    mean = torch.zeros(dictionary.out, dtype=torch.float64, device=fired.device)
    with torch.inference_mode():
        for batch in batches:
            x, y = batch if isinstance(batch, tuple) else (batch, batch)
            if not len(x):
                continue
            codes = dictionary.encode(x)
            y = y.to(fired.device, torch.float64)
            if y.shape != (len(x), dictionary.out):
                raise InputError(
                    f"vectors out of shape {tuple(y.shape)}, where the dictionary gives {len(x)} of"
                    f" {dictionary.out} numbers"
                )
            left += float((dictionary.decode(codes, x).double() - y).square().sum())
            fired[codes.latents] = True
            active += len(codes.latents)
            here = y.mean(0)
            step, tokens = here - mean, tokens + len(x)
            around += float((y - here).square().sum())
            around += float(step.square().sum()) * len(x) * (tokens - len(x)) / tokens
            mean += step * (len(x) / tokens)
    if not tokens:
        raise InputError("no vectors to measure a dictionary on")
    if not math.isfinite(left):
        largest = max(float(one.abs().max()) for one in (dictionary.encoder, dictionary.decoder))
        raise InputError(
            f"what the dictionary makes of these vectors is not finite: its weights are up to {largest:.2g};"
            " the file is damaged, or of another model"
        )
    explained = 1 - left / around if around else math.nan
    return Fit(explained, active / tokens, int((~fired).sum()), tokens)
