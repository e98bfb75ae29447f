"""Does a unit mean several things? Clusters of its exemplars, their number chosen by the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

MOST_MEANINGS = 4
FEWEST = 3
"""Exemplars that make a meaning."""
CHANCE = 0.05
_NULL_SETS = 200


def cluster_exemplars(
    sets: Sequence[Int64[np.ndarray, " exemplars"]],
    vectors: Float[np.ndarray, "texts dim"],
    population: Int64[np.ndarray, " texts"],
    *,
    seed: int = 0,
) -> list[Int64[np.ndarray, " exemplars"]]:
    """The meaning (0, 1, ...) of every exemplar of every set; -1 in clusters of fewer than three.

    `sets` are places in `vectors`, which are unit vectors. Each set is cut by average linkage of
    cosine distances into the two to four clusters of highest silhouette (Rousseeuw 1987). It stays
    whole, all 0, unless the silhouette is higher than all but 5 % of those of sets of the same size
    drawn from `population`: any set of texts falls apart somehow.
    """
    bars: dict[int, float] = {}
    result = []
    for places in sets:
        if len(places) < 2 * FEWEST:
            result.append(np.zeros(len(places), dtype=np.int64))
            continue
        if len(places) not in bars:
            bars[len(places)] = _bar(len(places), vectors, population, seed)
        labels, silhouette = _cut(vectors[places])
        whole = silhouette <= bars[len(places)]
        result.append(np.zeros(len(places), dtype=np.int64) if whole else _by_size(labels))
    return result


def _bar(size: int, vectors: np.ndarray, population: np.ndarray, seed: int) -> float:
    random = np.random.default_rng([seed, size])
    take = min(size, len(population))
    found = [_cut(vectors[random.choice(population, take, replace=False)])[1] for _ in range(_NULL_SETS)]
    return float(np.quantile(found, 1 - CHANCE))


def _cut(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The best cut into two or more clusters and its silhouette, -1 to 1."""
    distances = np.clip(1 - vectors @ vectors.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    cuts = (fcluster(tree, k, "maxclust") for k in range(2, MOST_MEANINGS + 1))
    scored = [(labels, _silhouette(distances, labels)) for labels in cuts]
    return max(scored, key=lambda each: each[1])


def _silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette; 0 for members of clusters of fewer than three, -1 without two larger ones."""
    values, member = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(values))[member]
    sizes = one_hot.sum(0)
    large = sizes >= FEWEST
    if large.sum() < 2:
        return -1.0
    sums = distances @ one_hot
    own = sums[np.arange(len(member)), member] / np.maximum(sizes[member] - 1, 1)
    means = np.where(large, sums / sizes, np.inf)
    means[np.arange(len(member)), member] = np.inf
    other = means.min(1)
    with np.errstate(invalid="ignore"):
        each = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(large[member], each, 0.0).mean())


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Numbered from the largest cluster down, equals by first member; small ones are -1."""
    values, first, member, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    number = np.full(len(values), -1)
    kept = [place for place in order if sizes[place] >= FEWEST]
    number[kept] = np.arange(len(kept))
    return number[member]
