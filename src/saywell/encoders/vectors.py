"""Vectors of length one: between them a dot product is a cosine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike


def unit_length(
    vectors: Float[np.ndarray, "rows dim"], dtype: DTypeLike | None = None
) -> Float[np.ndarray, "rows dim"]:
    """Each row divided by its length; rows of zeros stay. `dtype` to compute in (None: that of `vectors`)."""
    rows = np.asarray(vectors, dtype)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
