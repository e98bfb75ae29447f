"""Descriptions that should fail: whose description stands in for a unit's own.

Each function gives a few numbers per unit, best first: the places of units whose descriptions may be
read instead, or -1 where there is none. Their texts always differ from the unit's own and from each
other, and which of them is read is decided by how they read: two neurons rightly described by the
same words, or by other words for the same thing, are no evidence against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.splits import hash_numbers
from saywell.encoders.vectors import unit_length
from saywell.scorers.agreement import Predictions

NONE = -1
CANDIDATES = 4
ALIKE = 0.65
"""Correlation of decisions from which two descriptions say the same (docs/scores.md has the trial)."""
_BLOCK = 512  # units compared with all others at once


def reads_alike(
    own: Predictions, other: Predictions, *, at_least: float = ALIKE
) -> Bool[np.ndarray, " units"]:
    """Whether two descriptions of each unit are one claim in two wordings: they decide alike.

    Decisions correlate (phi, Pearson's correlation of yes and no) by `at_least`, over the examples
    that both answered. Two that both say yes of nearly everything agree on nearly everything and are
    not correlated for that; a constant correlates with nothing.
    """
    one, two = own.astype(np.float32), other.astype(np.float32)
    n = np.full(len(one), one.shape[1], dtype=np.float64)
    both = ~(np.isnan(one) | np.isnan(two))
    if not both.all():
        n = both.sum(1).astype(np.float64)
        one, two = np.where(both, one, 0), np.where(both, two, 0)
    first, second = one.sum(1, dtype=np.float64), two.sum(1, dtype=np.float64)
    joint = np.einsum("ij,ij->i", one, two)
    spread = np.sqrt(first * (n - first) * second * (n - second))
    return (spread > 0) & (n * joint - first * second >= at_least * spread)


def another_unit(
    descriptions: Sequence[str], units: Sequence[str], *, seed: int, candidates: int = CANDIDATES
) -> Int64[np.ndarray, "units candidates"]:
    """Units at random: the next on a ring in an order hashed from ids, with other texts.

    Does not depend on the order of units.
    """
    texts = _codes(descriptions)
    chosen = np.full((len(texts), candidates), NONE, dtype=np.int64)
    if not len(texts):
        return chosen
    ring = np.argsort(hash_numbers(units, seed, "another unit"), kind="stable")
    on_ring = texts[ring]
    # From each place on to the first whose text differs from this one's: runs are passed in one step.
    starts = np.flatnonzero(on_ring != np.roll(on_ring, 1))
    if not len(starts):
        return chosen
    following = starts[np.searchsorted(starts, np.arange(len(ring)), side="right") % len(starts)]
    place = np.arange(len(ring))
    taken = on_ring[:, None]
    for column in range(min(candidates, len(np.unique(texts)) - 1)):
        open_ = np.arange(len(ring))
        while len(open_):
            place[open_] = following[place[open_]]
            again = (on_ring[place[open_], None] == taken[open_]).any(1)
            open_ = open_[again]
        chosen[ring, column] = ring[place]
        taken = np.concatenate([taken, on_ring[place, None]], axis=1)
    return chosen


def nearest_sibling(
    descriptions: Sequence[str],
    vectors: Float[np.ndarray, "units dim"],
    named: Bool[np.ndarray, "units parts"] | None = None,
    *,
    candidates: int = CANDIDATES,
) -> Int64[np.ndarray, "units candidates"]:
    """The units of highest cosine with this one in any space: of descriptions, weights, responses.

    The hardest floor: the description may be right about the family and wrong about the member. Of
    equal cosines the first unit in the order given. Where descriptions are made of parts, `named`
    says which; units that name a part in common say partly the same, and are no siblings.
    """
    texts = _codes(descriptions)
    directions = unit_length(vectors)
    parts = None if named is None else named.astype(np.float32)
    chosen = np.full((len(texts), candidates), NONE, dtype=np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = directions[block] @ directions.T
        cosines[texts[block, None] == texts] = -np.inf
        if parts is not None:
            cosines[parts[block] @ parts.T > 0] = -np.inf
        for column in range(candidates):
            best = cosines.argmax(1)
            there = np.isfinite(cosines[np.arange(len(best)), best])
            chosen[block, column] = np.where(there, best, NONE)
            if not there.any():
                break
            cosines[texts[best][:, None] == texts] = -np.inf
    return chosen


def most_frequent(
    descriptions: Sequence[str], *, candidates: int = CANDIDATES
) -> Int64[np.ndarray, "units candidates"]:
    """Units that have the commonest texts other than this one's.

    Of equally common texts the first in the alphabet.
    """
    _, first, texts, counts = np.unique(
        np.asarray(descriptions, dtype=object).astype(str),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    commonest = np.argsort(-counts, kind="stable")[: candidates + 1]
    chosen = np.full((len(texts), candidates + 1), NONE, dtype=np.int64)
    chosen[:, : len(commonest)] = first[commonest]
    # One's own goes last, and out.
    own = np.zeros(chosen.shape, dtype=bool)
    own[:, : len(commonest)] = texts[:, None] == commonest
    order = np.argsort(own, axis=1, kind="stable")
    chosen = np.take_along_axis(np.where(own, NONE, chosen), order, 1)
    return chosen[:, :candidates]


def _codes(descriptions: Sequence[str]) -> Int64[np.ndarray, " units"]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in descriptions], dtype=np.int64)
