"""Activations while a dictionary is trained: sparse rows on a processor, whole matrices on an accelerator.

A processor gains most where only what is active is touched, and sums in the same order whatever the number of
threads. An accelerator multiplies a whole matrix sooner than it finds what is in it. Both do the same sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float32, Int

Array: TypeAlias = Any
"""A NumPy array on a processor, a torch tensor on an accelerator."""
_NEAR = 64
"""Vectors whose directions are looked up at a time: as many as stay in a processor's cache."""


class Active(Protocol):
    """Activations, vectors x latents; `values` are those that are kept, in an order of its own."""

    @property
    def values(self) -> Array:
        """What is kept."""
        ...

    def replaced(self, values: Array) -> Active:
        """Other values at the same places."""
        ...

    def at(self, numbers: Array) -> Array:
        """Of each value, the number of its latent."""
        ...

    def sums(self) -> Array:
        """By latent."""
        ...

    def fired(self) -> np.ndarray:
        """By latent, whether any value is other than 0."""
        ...

    def decoded(self, decoder: Array) -> Array:
        """Vectors: the sum of directions times activations."""
        ...

    def spread(self, vectors: Array) -> Array:
        """By latent, the sum of vectors times activations."""
        ...

    def products(self, vectors: Array, directions: Array) -> Array:
        """Of each value, the product of its vector with the direction of its latent."""
        ...

    def among(self, latents: slice) -> Active:
        """What is of some latents, which are the only ones left."""
        ...

    def joined(self, parts: Sequence[Array]) -> Array:
        """Rows of some arrays as one."""
        ...


@dataclass(frozen=True)
class Rows:
    """On a processor."""

    matrix: sp.csr_matrix

    @property
    def values(self) -> np.ndarray:
        """See `Active`."""
        return self.matrix.data

    def replaced(self, values: np.ndarray) -> Rows:
        """See `Active`."""
        matrix = self.matrix
        return Rows(sp.csr_matrix((values, matrix.indices, matrix.indptr), matrix.shape))

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """See `Active`."""
        return numbers[self.matrix.indices]

    def sums(self) -> np.ndarray:
        """See `Active`."""
        return np.asarray(self.matrix.sum(0), dtype=np.float32).ravel()

    def fired(self) -> np.ndarray:
        """See `Active`."""
        found = np.zeros(self.matrix.shape[1], dtype=bool)
        found[self.matrix.indices[self.matrix.data != 0]] = True
        return found

    def decoded(self, decoder: np.ndarray) -> np.ndarray:
        """See `Active`."""
        return self.matrix @ decoder

    def spread(self, vectors: np.ndarray) -> np.ndarray:
        """See `Active`."""
        return self.matrix.T @ vectors

    def products(self, vectors: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """See `Active`; each by itself, so that none rounds by its place."""
        ends, places = self.matrix.indptr, self.matrix.indices
        counts = np.diff(ends)
        found = np.empty(len(places), dtype=np.float32)
        even = len(counts) > 0 and counts[0] > 0 and bool((counts == counts[0]).all())
        for start in range(0, len(counts), _NEAR):
            stop = min(start + _NEAR, len(counts))
            here = slice(ends[start], ends[stop])
            if even:
                near = directions[places[here].reshape(stop - start, -1)]
                found[here] = np.einsum("nkd,nd->nk", near, vectors[start:stop]).ravel()
            else:
                own = np.repeat(vectors[start:stop], counts[start:stop], axis=0)
                found[here] = np.einsum("nd,nd->n", directions[places[here]], own)
        return found

    def among(self, latents: slice) -> Rows:
        """See `Active`."""
        return Rows(self.matrix[:, latents])

    def joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Active`."""
        return np.concatenate(parts)


@dataclass(frozen=True)
class Whole:
    """On an accelerator: every place is kept."""

    matrix: torch.Tensor

    @property
    def values(self) -> torch.Tensor:
        """See `Active`."""
        return self.matrix

    def replaced(self, values: torch.Tensor) -> Whole:
        """See `Active`."""
        return Whole(values)

    def at(self, numbers: torch.Tensor) -> torch.Tensor:
        """See `Active`."""
        return numbers.expand_as(self.matrix)

    def sums(self) -> torch.Tensor:
        """See `Active`."""
        return self.matrix.sum(0)

    def fired(self) -> np.ndarray:
        """See `Active`."""
        return self.matrix.ne(0).any(0).cpu().numpy()

    def decoded(self, decoder: torch.Tensor) -> torch.Tensor:
        """See `Active`."""
        return self.matrix @ decoder

    def spread(self, vectors: torch.Tensor) -> torch.Tensor:
        """See `Active`."""
        return self.matrix.T @ vectors

    def products(self, vectors: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """See `Active`."""
        return vectors @ directions.T

    def among(self, latents: slice) -> Whole:
        """See `Active`."""
        return Whole(self.matrix[:, latents])

    def joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `Active`."""
        return torch.cat(tuple(parts))


def largest(before: Array, k: int, signed: bool = False) -> Active:
    """The k largest of each row; below 0 is 0, unless `signed`."""
    if isinstance(before, torch.Tensor):
        places = (before.abs() if signed else before).topk(k, dim=1, sorted=False).indices
        values = before.gather(1, places)
        values = values if signed else values.relu()
        return Whole(torch.zeros_like(before).scatter_(1, places, values))
    return rows_of(*strongest(before, k, signed), before.shape[1])


def rows_of(values: Float32[np.ndarray, "rows k"], places: Int[np.ndarray, "rows k"], latents: int) -> Rows:
    """So many activations a row."""
    ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    flat = values.ravel(), places.ravel().astype(np.int32), ends
    return Rows(sp.csr_matrix(flat, (len(values), latents)))


def largest_of_all(before: Array, count: int) -> Active:
    """The `count` largest of all numbers that are above 0."""
    if isinstance(before, torch.Tensor):
        least = before.flatten().topk(count, sorted=False).values.min()
        return above(before, torch.clamp(least, min=0), strictly=False)
    beyond = before.size - count
    least = np.partition(before.ravel(), beyond)[beyond]
    return above(before, np.maximum(least, 0), strictly=False)


def above(before: Array, thresholds: Array, *, strictly: bool = True) -> Active:
    """What is above 0 and above the threshold of its latent; unless `strictly`, or at it."""
    fires = (before > thresholds) if strictly else (before >= thresholds)
    if isinstance(before, torch.Tensor):
        return Whole(before.relu() * fires)
    flat = np.flatnonzero(fires & (before > 0))
    latents = before.shape[1]
    ends = np.searchsorted(flat, np.arange(len(before) + 1) * latents).astype(np.int32)
    matrix = sp.csr_matrix((before.ravel()[flat], (flat % latents).astype(np.int32), ends), before.shape)
    return Rows(matrix)


def strongest(
    before: Float32[np.ndarray, "rows latents"], k: int, signed: bool = False
) -> tuple[Float32[np.ndarray, "rows k"], Int[np.ndarray, "rows k"]]:
    """The k largest values of each row and where they are, in no order; below 0 is 0, unless `signed`."""
    beyond = before.shape[1] - k
    places = np.argpartition(np.abs(before) if signed else before, beyond, axis=1)[:, beyond:]
    values = np.take_along_axis(before, places, axis=1)
    return (values if signed else np.maximum(values, 0)), places
