"""BatchTopK: the n k largest of a batch of n vectors fire, and a vector alone goes by a threshold.

Bussmann et al. 2024, "BatchTopK Sparse Autoencoders", arXiv:2412.06410.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from saywell.units.dictionaries import rules
from saywell.units.dictionaries.active import Active, Array, largest_of_all
from saywell.units.dictionaries.descent import Weights
from saywell.units.dictionaries.topk import gradients_of_error


@dataclass(frozen=True)
class BatchTopK:
    """An objective (`descent.Objective`)."""

    k: int

    def thresholds(self, before: np.ndarray) -> np.ndarray:
        """None in training."""
        return np.zeros(0, dtype=np.float32)

    def active(self, now: Weights, before: Array) -> Active:
        """The k largest a row, of all rows together."""
        return largest_of_all(before, self.k * len(before))

    def gradients(self, now: Weights, x: Array) -> tuple[Weights, np.ndarray]:
        """Of half the mean squared error."""
        return gradients_of_error(now, x, self.active(now, x @ now.encoder.T + now.bias))

    def rule(self, now: Weights, x: np.ndarray) -> rules.Rule:
        """One threshold for all latents, at which k of them fire in the mean of `x`."""
        return rules.JumpReLU(torch.full((len(now.bias),), common_threshold(now, x, self.k)))


def common_threshold(now: Weights, x: np.ndarray, k: int) -> float:
    """Midway between the last number that is to be active, and the next that is not; at least 0.

    The paper takes the mean over batches of the least that is active, which lets more than k fire.
    """
    before = (x @ now.encoder.T + now.bias).ravel()
    last = before.size - k * len(x)
    around = np.partition(before, [max(last - 1, 0), last])[[max(last - 1, 0), last]]
    return float(np.maximum(around, 0).mean())
