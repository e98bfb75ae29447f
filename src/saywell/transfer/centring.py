"""The gap between images and texts, and how it is closed.

In a shared space, images and texts of one thing still lie apart: each kind is shifted by a vector
of its own (the modality gap, Liang et al. 2022). Subtracting each kind's mean removes the shift.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from saywell.encoders.vectors import unit_length


def balanced_mean(
    vectors: Float[np.ndarray, "n dim"], classes: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " dim"]:
    """The mean of the class means: no class weighs more for having more members."""
    _, number, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return (1 / counts / len(counts))[number] @ vectors


def centred(
    vectors: Float[np.ndarray, "n dim"], mean: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "n dim"]:
    """Unit vectors without the mean of their kind, at length 1 again."""
    return unit_length(unit_length(vectors) - mean)
