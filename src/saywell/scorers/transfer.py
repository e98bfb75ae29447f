"""How much texts gain in transfer: accuracies and paired differences, with intervals."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped

from saywell.errors import InputError
from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval


class Resampling:
    """Draws of seeds and of examples, for the intervals of any number of rows of one table.

    Every row of a table meets the same draws, so that equal rows have equal intervals. Seeds of a
    low-shot run differ more than test examples do; an interval over examples alone would be too
    narrow. `n` of an interval counts examples.
    """

    def __init__(self, seeds: int, examples: int, *, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self._shape = seeds, examples
        if seeds and examples:
            random = np.random.default_rng(seed)
            shares = np.full(seeds, 1 / seeds), np.full(examples, 1 / examples)
            self._by_seed = random.multinomial(seeds, shares[0], size=resamples) / seeds
            self._by_example = random.multinomial(examples, shares[1], size=resamples) / examples

    def mean(self, values: Shaped[np.ndarray, "seeds examples"]) -> Interval:
        """The mean with a 95 % interval that resamples seeds and examples, each as a whole."""
        if values.size == 0:
            return Interval(np.nan, np.nan, np.nan, 0)
        if values.shape != self._shape:
            raise InputError(f"values are {values.shape!r}, and the draws for {self._shape!r}")
        drawn = ((self._by_seed @ values.astype(float)) * self._by_example).sum(1)
        tails = (1 - LEVEL) / 2
        low, high = np.quantile(drawn, [tails, 1 - tails])
        return Interval(float(values.mean()), float(low), float(high), values.shape[1])

    def difference(
        self, method: Bool[np.ndarray, "seeds examples"], control: Bool[np.ndarray, "seeds examples"]
    ) -> Interval:
        """Accuracy of `method` less that of `control`, seed by seed and image by image; above 0 is better."""
        return self.mean(method.astype(float) - control.astype(float))
