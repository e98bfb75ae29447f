"""JumpReLU: what is above the threshold of its latent fires, with all of its value; thresholds are trained.

Rajamanoharan et al. 2024, "Jumping Ahead", arXiv:2407.14435: straight-through estimators with a rectangle of
width `_BAND`. The penalty (active / k - 1)^2, as in dictionary_learning, holds the mean number of active
latents at k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from saywell.units.dictionaries import rules
from saywell.units.dictionaries.active import Active, Array, above
from saywell.units.dictionaries.descent import Weights

_BAND = 0.05
"""Width of the rectangle, where vectors are 1 long in the mean square."""
_PENALTY = 1.0


@dataclass(frozen=True)
class JumpReLU:
    """An objective (`descent.Objective`)."""

    k: int

    def thresholds(self, before: np.ndarray) -> np.ndarray:
        """One for all at which k fire."""
        last = before.size - self.k * len(before)
        return np.full(before.shape[1], np.log(np.partition(before.ravel(), last)[last]), dtype=np.float32)

    def active(self, now: Weights, before: Array) -> Active:
        """What is above the thresholds."""
        return above(before, np.exp(now.thresholds))

    def gradients(self, now: Weights, x: Array) -> tuple[Weights, np.ndarray]:
        """Of half the mean squared error and the penalty."""
        exp = torch.exp if isinstance(x, torch.Tensor) else np.exp
        thresholds = exp(now.thresholds)
        near = above(x @ now.encoder.T + now.bias, thresholds - _BAND / 2)
        own = near.at(thresholds)
        fires = near.values > own
        active = near.replaced(near.values * fires)
        error = active.decoded(now.decoder) - x
        error /= len(x)
        products = near.products(error, now.decoder)
        back = near.replaced(products * fires)
        count = float(fires.sum()) / len(x)
        price = _PENALTY * 2 * (count / self.k - 1) / self.k / len(x)
        band = abs(near.values - own) < _BAND / 2
        # By the logarithm of the threshold, hence once more times it.
        at_thresholds = near.replaced(-(own * products + price) * own * band / _BAND).sums()
        found = Weights(back.spread(x), back.sums(), active.spread(error), at_thresholds)
        return found, active.fired()

    def rule(self, now: Weights, x: np.ndarray) -> rules.Rule:
        """The thresholds, all as much larger or smaller as lets k fire in the mean of `x`."""
        thresholds = np.exp(now.thresholds)
        before = (x @ now.encoder.T + now.bias) / thresholds
        last = before.size - self.k * len(x)
        factor = np.partition(before.ravel(), last)[last]
        return rules.JumpReLU(torch.from_numpy(thresholds * factor))
