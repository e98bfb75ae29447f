"""Effects of directions beside those of random ones: is one more than any direction has?

An effect is studentised by the random ones of its own size and place, each of these by the others. Where they
are normal, Student's t gives p; where their shape is not known, the rank among all of them does.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def studentised(effects: Float[np.ndarray, " draws"]) -> Float[np.ndarray, " draws"]:
    """How far the first lies above the others, which were drawn, and each of these above the rest of them.

    In standard deviations of one more draw (Student's t); 0 where the others are all alike.
    """
    drawn = effects[1:]
    rest = np.array([np.delete(drawn, place) for place in range(len(drawn))])
    return np.append(_above(effects[:1], drawn[None]), _above(drawn, rest))


def rank_p(
    own: Float[np.ndarray, " units"], drawn: Float[np.ndarray, "units random"]
) -> Float[np.ndarray, " units"]:
    """The share of all draws, with the unit itself, that are as high: (1 + draws as high) / (1 + draws)."""
    every = np.sort(drawn.ravel())
    return (1 + len(every) - np.searchsorted(every, own, side="left")) / (1 + len(every))


def _above(
    values: Float[np.ndarray, " values"], others: Float[np.ndarray, "values others"]
) -> Float[np.ndarray, " values"]:
    spread = others.std(1, ddof=1) * np.sqrt(1 + 1 / others.shape[1])
    away = values - others.mean(1)
    return np.divide(away, spread, out=np.zeros(len(values)), where=spread > 0)
