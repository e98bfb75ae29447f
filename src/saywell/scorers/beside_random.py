"""An effect of one direction beside the effects of random ones: is it more than any direction has?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from saywell.scorers.intervals import Interval, bootstrap_mean


class Beyond(NamedTuple):
    """An effect beside that of random directions."""

    value: float
    random: float
    """Mean of the random ones."""
    difference: Interval
    """Own less the mean of the random ones, resampled over texts."""
    p: float
    """One-sided, see `rarity`."""


def beyond(
    effects: Float[np.ndarray, "directions texts"], *, seed: int, sign: int = 1, ratio: bool = False
) -> Beyond:
    """The first direction beside the others, which were drawn at random; see `rarity` for p."""
    own, others = effects[0], effects[1:]
    difference = bootstrap_mean(own - others.mean(0), seed=seed)
    p = rarity(effects, sign=sign, ratio=ratio)
    return Beyond(float(own.mean()), float(others.mean()), difference, p)


def rarity(effects: Float[np.ndarray, "directions texts"], *, sign: int = 1, ratio: bool = False) -> float:
    """How often the first would be as high, were it drawn as the others are, from one normal distribution.

    Of means over texts, by Student's t for one more draw, with as many degrees of freedom as there are
    others, less 1. `sign` -1: as low. With `ratio` effects are 0 or more, and their logarithms are normal.
    """
    means = effects.mean(1)
    levels = sign * (np.log(np.maximum(means, np.finfo(float).tiny)) if ratio else means)
    first, drawn = levels[0], levels[1:]
    above, spread = first - drawn.mean(), drawn.std(ddof=1) * np.sqrt(1 + 1 / len(drawn))
    return float(stats.t.sf(above / spread, len(drawn) - 1)) if spread > 0 else float(above <= 0)
