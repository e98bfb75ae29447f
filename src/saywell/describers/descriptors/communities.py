"""Merging candidate descriptors that say the same: fast community detection.

The algorithm is the one of `sentence_transformers.util.community_detection`: every text with at
least `min_size` neighbours (itself included) within cosine `threshold` is the centre of a
community; communities are taken from large to small, each without the members that an earlier one
took, and dropped when its centre is taken or fewer than `min_size` remain. Here only the neighbour
lists are kept, so memory grows with the number of neighbours and not with the square of the number
of texts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_BLOCK = 1024


def find_communities(
    embeddings: Float[np.ndarray, "texts dim"], *, threshold: float = 0.75, min_size: int = 2
) -> list[Int[np.ndarray, " members"]]:
    """Communities of texts, large ones first; each lists its centre first, then by similarity.

    `embeddings` are unit vectors. Texts in no community are left out.
    """
    neighbours = _neighbour_lists(embeddings, threshold)
    centres = [n for n in neighbours if len(n) >= min_size]
    centres.sort(key=len, reverse=True)
    taken = np.zeros(len(embeddings), dtype=bool)
    communities = []
    for members in centres:
        free = members[~taken[members]]
        if not taken[members[0]] and len(free) >= min_size:
            communities.append(free)
            taken[free] = True
    communities.sort(key=len, reverse=True)
    return communities


def _neighbour_lists(embeddings: np.ndarray, threshold: float) -> list[np.ndarray]:
    lists = []
    for start in range(0, len(embeddings), _BLOCK):
        similarity = embeddings[start : start + _BLOCK] @ embeddings.T
        # A text is its own nearest neighbour, whatever rounding makes of its length.
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = np.inf
        for row in similarity:
            near = np.flatnonzero(row >= threshold)
            lists.append(near[np.argsort(-row[near], kind="stable")])
    return lists


def representative(
    members: Int[np.ndarray, " members"],
    embeddings: Float[np.ndarray, "texts dim"],
    counts: Float[np.ndarray, " texts"],
) -> int:
    """The member that speaks for a community: highest mean similarity to all mentions in it.

    Each member weighs as often as the corpus mentions it, so a frequent wording beats a rare one
    that happens to lie in the middle.
    """
    own = embeddings[members]
    weights = counts[members] / counts[members].sum()
    centrality = own @ (weights @ own)
    return int(members[np.lexsort((members, -counts[members], -centrality.round(6)))[0]])
