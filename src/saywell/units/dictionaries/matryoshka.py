"""Matryoshka: the first latents alone, then more and more of them, have to make good vectors; else BatchTopK.

Bussmann et al. 2025, "Learning Multi-Level Features with Matryoshka Sparse Autoencoders", arXiv:2503.17547.
What many vectors share is found by the first latents, and is absorbed less by others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from saywell.units.dictionaries.active import Array
from saywell.units.dictionaries.batchtopk import BatchTopK
from saywell.units.dictionaries.descent import Weights

LEVELS = 5
"""Prefixes at most; each is half of the next, and has at least k latents."""


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """An objective (`descent.Objective`)."""

    def gradients(self, now: Weights, x: Array) -> tuple[Weights, np.ndarray]:
        """Of half the mean squared error, in the mean over prefixes.

        The error that a latent is told of is that of all prefixes that it is part of.
        """
        active = self.active(now, x @ now.encoder.T + now.bias)
        groups = [slice(a, b) for a, b in pairwise((0, *prefixes(len(now.bias), self.k)))]
        parts = [active.among(group) for group in groups]
        errors, error = [], -x
        for part, group in zip(parts, groups, strict=True):
            error = error + part.decoded(now.decoder[group])
            errors.append(error / (len(x) * len(groups)))
        told, found = 0, []
        for part, group, error in zip(parts[::-1], groups[::-1], errors[::-1], strict=True):
            told = told + error
            back = part.replaced(part.products(told, now.decoder[group]) * (part.values != 0))
            found.append((back.spread(x), back.sums(), part.spread(told)))
        encoder, bias, decoder = map(active.joined, zip(*found[::-1], strict=True))
        return Weights(encoder, bias, decoder, now.thresholds), active.fired()


def prefixes(latents: int, k: int) -> tuple[int, ...]:
    """Latents of each prefix; the last is all."""
    halves = (latents >> level for level in range(LEVELS))
    return tuple(sorted({latents} | {half for half in halves if half >= k}))
