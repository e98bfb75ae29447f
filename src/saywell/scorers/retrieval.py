"""Precision and recall of predicted descriptors: step B.7 of the method.

For a held-out text, descriptors are ranked by the summed evidence of the units that fire on it,
and compared with the set that the text really carries.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def precision_recall_at_k(
    scores: Float[np.ndarray, "texts descriptors"],
    truth: Bool[np.ndarray, "texts descriptors"],
    k_max: int = 10,
) -> tuple[Float[np.ndarray, "texts k"], Float[np.ndarray, "texts k"]]:
    """Per text, precision@k and recall@k for k = 1 .. k_max (0 to 1, higher is better).

    precision@k = |top k and true| / k, recall@k = |top k and true| / |true|. A descriptor with score
    0 or less is not predicted: a text with fewer than k predictions pays for the missing ones.
    Texts that carry nothing are NaN (no answer is possible). Equal scores rank by column, so put
    the columns in an order that says nothing about the truth.
    """
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :k_max]
    right = np.zeros((len(scores), k_max))  # fewer descriptors than k: nothing more can be found
    right[:, : ranked.shape[1]] = np.take_along_axis(truth & (scores > 0), ranked, axis=1)
    found = right.cumsum(1)
    sizes = truth.sum(1).astype(float)
    sizes[sizes == 0] = np.nan
    k = np.arange(1, k_max + 1)
    precision = np.where(np.isnan(sizes)[:, None], np.nan, found / k)
    return precision, found / sizes[:, None]


def best_precision_at_k(
    truth: Bool[np.ndarray, "texts descriptors"], k_max: int = 10
) -> Float[np.ndarray, "texts k"]:
    """The precision@k of a perfect ranking: a text with two true descriptors cannot exceed 2/k."""
    sizes = truth.sum(1).astype(float)
    sizes[sizes == 0] = np.nan
    k = np.arange(1, k_max + 1)
    return np.minimum(sizes[:, None], k) / k
