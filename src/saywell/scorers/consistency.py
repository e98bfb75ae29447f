"""Do two halves of the data give a unit the same descriptors?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def jaccard(
    first: Bool[np.ndarray, "units descriptors"], second: Bool[np.ndarray, "units descriptors"]
) -> Float[np.ndarray, " units"]:
    """Jaccard index of each unit's two descriptor sets (0 to 1, higher is better).

    NaN for units that are empty on both sides: two empty sets agree about nothing.
    """
    either = (first | second).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (first & second).sum(1) / np.where(either == 0, np.nan, either)


def jaccard_with_others(
    first: Bool[np.ndarray, "units descriptors"],
    second: Bool[np.ndarray, "units descriptors"],
    *,
    seed: int = 0,
) -> Float[np.ndarray, " units"]:
    """The control: each unit's first set against the second set of another unit, taken at random.

    Rules that give every unit the same frequent descriptors score as high here as on the unit
    itself. NaN where there is no other unit.
    """
    if len(first) < 2:
        return np.full(len(first), np.nan)
    # Each takes the next one's in a random round, so that none meets itself.
    order = np.random.default_rng(seed).permutation(len(first))
    others = np.empty(len(first), dtype=np.intp)
    others[order] = np.roll(order, 1)
    return jaccard(first, second[others])
