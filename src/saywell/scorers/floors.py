"""Descriptions that should fail: whose description stands in for a unit's own.

Each function gives one number per unit, the place of a unit whose description is read instead, or -1
where there is none. Its text always differs from the unit's own: two neurons rightly described by
the same words are no evidence against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.splits import hash_numbers

NONE = -1
_BLOCK = 512  # units compared with all others at once


def another_unit(
    descriptions: Sequence[str], units: Sequence[str], *, seed: int
) -> Int64[np.ndarray, " units"]:
    """A unit at random: the next on a ring in an order hashed from ids, with another text.

    Does not depend on the order of units.
    """
    texts = _codes(descriptions)
    ring = np.argsort(hash_numbers(units, seed, "another unit"), kind="stable")
    chosen = np.full(len(texts), NONE, dtype=np.int64)
    if len(np.unique(texts)) < 2:
        return chosen
    # From the end, twice round: the next unit's text differs, or what serves it serves this one too.
    for place in range(2 * len(ring) - 1, -1, -1):
        unit, following = ring[place % len(ring)], ring[(place + 1) % len(ring)]
        chosen[unit] = following if texts[following] != texts[unit] else chosen[following]
    return chosen


def nearest_sibling(
    descriptions: Sequence[str],
    vectors: Float[np.ndarray, "units dim"],
    named: Bool[np.ndarray, "units parts"] | None = None,
) -> Int64[np.ndarray, " units"]:
    """The unit of highest cosine with this one in any space: of descriptions, weights, responses.

    The hardest floor: the description may be right about the family and wrong about the member. Of
    equal cosines the first unit in the order given. Where descriptions are made of parts, `named`
    says which; units that name a part in common say partly the same, and are no siblings.
    """
    texts = _codes(descriptions)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit_vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    parts = None if named is None else named.astype(np.float32)
    chosen = np.full(len(texts), NONE, dtype=np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = unit_vectors[block] @ unit_vectors.T
        cosines[texts[block, None] == texts] = -np.inf
        if parts is not None:
            cosines[parts[block] @ parts.T > 0] = -np.inf
        best = cosines.argmax(1)
        there = np.isfinite(cosines[np.arange(len(best)), best])
        chosen[block] = np.where(there, best, NONE)
    return chosen


def most_frequent(descriptions: Sequence[str]) -> Int64[np.ndarray, " units"]:
    """A unit that has the commonest text; for units that have it themselves, the next commonest.

    Of equally common texts the first in the alphabet.
    """
    values, first, texts, counts = np.unique(
        np.asarray(descriptions, dtype=object).astype(str),
        return_index=True, return_inverse=True, return_counts=True,
    )  # fmt: skip
    commonest = np.argsort(-counts, kind="stable")
    if len(values) < 2:
        return np.full(len(descriptions), NONE, dtype=np.int64)
    top, second = commonest[:2]
    return np.where(texts == top, first[second], first[top]).astype(np.int64)


def _codes(descriptions: Sequence[str]) -> Int64[np.ndarray, " units"]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in descriptions], dtype=np.int64)
