"""TopK: the k largest of each vector fire.

Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv:2406.04093. Signed, the k largest by size
fire and keep their sign: AbsTopK, arXiv:2510.00404.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from saywell.units.dictionaries import rules
from saywell.units.dictionaries.active import Active, Array, largest, rows_of, strongest
from saywell.units.dictionaries.descent import Weights, check_vectors
from saywell.units.dictionaries.dictionary import Dictionary

_ROWS = 512
"""Vectors that are encoded at a time."""
_CLOSE = 4
"""Latents beyond k whose activations are computed once more."""


@dataclass(frozen=True)
class TopK:
    """An objective (`descent.Objective`)."""

    k: int
    signed: bool = False

    def thresholds(self, before: np.ndarray) -> np.ndarray:
        """None."""
        return np.zeros(0, dtype=np.float32)

    def active(self, now: Weights, before: Array) -> Active:
        """The k largest of each row."""
        return largest(before, self.k, self.signed)

    def gradients(self, now: Weights, x: Array) -> tuple[Weights, np.ndarray]:
        """Of half the mean squared error."""
        return gradients_of_error(now, x, self.active(now, x @ now.encoder.T + now.bias))

    def rule(self, now: Weights, x: np.ndarray) -> rules.Rule:
        """The same."""
        return rules.TopK(self.k, self.signed)


def gradients_of_error(now: Weights, x: Array, active: Active) -> tuple[Weights, np.ndarray]:
    """Of half the mean squared error, with what is active held as it is; and which latents fired."""
    error = active.decoded(now.decoder) - x
    error /= len(x)
    back = active.replaced(active.products(error, now.decoder) * (active.values != 0))
    found = Weights(back.spread(x), back.sums(), active.spread(error), now.thresholds)
    return found, active.fired()


def exact_codes(dictionary: Dictionary, vectors: Float[np.ndarray, "vectors width"]) -> sp.csr_matrix:
    """Activations under a TopK rule, vectors x latents, to the last bit those of each vector by itself.

    A product of whole matrices rounds by the place in it: here it only says which latents are close to
    the k largest, and these are computed once more, each by itself.

    Raises InputError for vectors of another width or that are not finite.
    """
    rule = dictionary.rule
    assert isinstance(rule, rules.TopK)
    check_vectors(vectors, dictionary.width)
    encoder, bias = dictionary.encoder.numpy(), dictionary.bias.numpy()
    parts = [sp.csr_matrix((0, dictionary.latents), dtype=np.float32)]
    for start in range(0, len(vectors), _ROWS):
        some = vectors[start : start + _ROWS].astype(np.float32) - dictionary.centre.numpy()
        before = some @ encoder.T + bias
        _, close = strongest(before, min(rule.k + _CLOSE, dictionary.latents), rule.signed)
        close.sort(axis=1)
        near = rows_of(np.ones(close.shape, np.float32), close, dictionary.latents)
        exact = near.products(some, encoder).reshape(close.shape) + bias[close]
        values, chosen = strongest(exact, rule.k, rule.signed)
        parts.append(rows_of(values, np.take_along_axis(close, chosen, axis=1), dictionary.latents).matrix)
    whole = sp.vstack(parts, format="csr")
    whole.eliminate_zeros()
    whole.sort_indices()
    return whole
