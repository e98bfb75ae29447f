"""Which phrases hold of which examples, by an encoder that reads the one and sees the other.

A phrase holds of an example that is nearer to it than most are. Nearness is the cosine in standard
deviations from the phrase's mean over describe examples: some phrases are near to everything.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

HOLDS_FROM = 1.0
"""Nearness from which a phrase counts as holding of an example."""
_BLOCK = 256
_LEAST_SPREAD = 1e-6
"""Smaller than what single precision resolves is no spread."""


def cosines(
    vectors: Float[np.ndarray, "examples dim"], phrases: Float[np.ndarray, "phrases dim"]
) -> Iterator[tuple[slice, Float[np.ndarray, "examples block"]]]:
    """Of every example with some of the phrases at a time, and which these are. All are unit vectors."""
    for start in range(0, len(phrases), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(phrases)))
        yield block, (vectors @ phrases[block].T).astype(np.float64)


def least_spread(found: Float[np.ndarray, "examples phrases"]) -> Float[np.ndarray, " phrases"]:
    """The standard deviation of each phrase's cosines, or the least that says anything."""
    return np.maximum(found.std(0), _LEAST_SPREAD)


def nearness(
    found: Float[np.ndarray, "examples phrases"], known: Int[np.ndarray, " some"]
) -> Float[np.ndarray, "examples phrases"]:
    """Cosines in standard deviations from their means over the examples in `known`."""
    return (found - found[known].mean(0)) / least_spread(found[known])


def holding(
    vectors: Float[np.ndarray, "examples dim"],
    phrases: Float[np.ndarray, "phrases dim"],
    known: Int[np.ndarray, " some"],
) -> sp.csr_matrix:
    """Examples x phrases: the nearness where the phrase holds, elsewhere nothing.

    `known` are the places of the describe examples, by which nearness is measured.
    """
    blocks = [sp.csr_matrix((len(vectors), 0))]
    for _, found in cosines(vectors, phrases):
        near = nearness(found, known)
        blocks.append(sp.csr_matrix(np.where(near >= HOLDS_FROM, near, 0.0)))
    return sp.hstack(blocks, format="csr")
