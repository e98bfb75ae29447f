"""Rough topics of texts: groups of vectors that point the same way."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from saywell.errors import InputError


def topics(
    vectors: Float[np.ndarray, "vectors width"], number: int, *, seed: int, rounds: int = 50
) -> tuple[Int[np.ndarray, " vectors"], Float[np.ndarray, "topics width"]]:
    """Topic of each vector, and the topics' directions (unit rows): spherical k-means (Dhillon & Modha 2001).

    A vector belongs to the direction of largest cosine: of new ones, `(new @ centres.T).argmax(1)`. None is
    empty, so there are fewer than `number` where fewer vectors differ. Raises InputError for no vectors.
    """
    from sklearn.cluster import kmeans_plusplus

    if not len(vectors) or number < 1:
        raise InputError(f"{len(vectors)} vectors make no {number} topics")
    rows = _unit(vectors.astype(np.float32))
    with threadpool_limits(1, user_api="blas"):  # sums round by the number of threads
        centres, _ = kmeans_plusplus(rows, min(number, len(rows)), random_state=seed)
        for _ in range(rounds):
            nearest = (rows @ centres.T).argmax(1)
            members = sp.csr_matrix((np.ones(len(rows), np.float32), (nearest, np.arange(len(rows)))))
            before, centres = centres, _unit((members @ rows)[np.diff(members.indptr) > 0])
            if np.array_equal(before, centres):
                break
        used, labels = np.unique((rows @ centres.T).argmax(1), return_inverse=True)
    return labels, centres[used]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
