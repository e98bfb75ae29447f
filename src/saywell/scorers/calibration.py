"""From evidence to probability."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_RIDGE = 1e-3
"""Small, but enough to keep the slope finite where evidence separates the texts."""


def fit_platt(
    evidence: Float[np.ndarray, "texts descriptors"],
    truth: Bool[np.ndarray, "texts descriptors"],
    *,
    iterations: int = 50,
) -> tuple[Float[np.ndarray, " descriptors"], Float[np.ndarray, " descriptors"]]:
    """Slope and intercept per descriptor, so that sigmoid(slope * evidence + intercept) is a probability.

    Platt (1999): logistic regression on one number, with targets drawn in from 0 and 1 as if one
    more text of each kind had been seen. A slope that would be negative is 0: evidence may count
    for nothing, never against its own descriptor. So may evidence that is the same for all texts.
    Fitted by Newton's method with backtracking (Lin, Lin and Weng 2007), all descriptors at once.
    """
    if len(truth) == 0:
        return np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
    positives, n = truth.sum(0), len(truth)
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    scale = evidence.std(0)
    # Of what is constant, rounding leaves a spread that must not be blown up.
    scale = np.where(scale > 1e-9 * np.abs(evidence).max(0), scale, np.inf)
    x = (evidence - evidence.mean(0)) / scale
    slope = np.zeros(evidence.shape[1])
    rate = target.mean(0)
    intercept = np.log(rate / (1 - rate))

    def loss(slope: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        logit = slope * x + intercept
        return (np.logaddexp(0, logit) - target * logit).sum(0) + _RIDGE / 2 * slope**2

    current = loss(slope, intercept)
    for _ in range(iterations):
        p = apply_platt(x, slope, intercept)
        residual, weight = p - target, np.maximum(p * (1 - p), 1e-9)
        gradient = (residual * x).sum(0) + _RIDGE * slope, residual.sum(0)
        aa, ab, bb = (weight * x * x).sum(0) + _RIDGE, (weight * x).sum(0), weight.sum(0)
        determinant = np.maximum(aa * bb - ab * ab, 1e-12)
        down_slope = (bb * gradient[0] - ab * gradient[1]) / determinant
        down_intercept = (aa * gradient[1] - ab * gradient[0]) / determinant
        gain = down_slope * gradient[0] + down_intercept * gradient[1]
        open_ = gain > 1e-10 * (1 + current)
        if not open_.any():
            break
        # Where evidence is rare, a full step overshoots: halve it until the loss falls.
        size = np.where(open_, 1.0, 0.0)
        for _ in range(40):
            new = loss(slope - size * down_slope, intercept - size * down_intercept)
            worse = new > current - 1e-4 * size * gain
            if not (worse & open_).any():
                break
            size[worse & open_] /= 2
        slope, intercept = slope - size * down_slope, intercept - size * down_intercept
        current = new
    against = slope <= 0
    slope = np.where(against, 0.0, slope)
    intercept = np.where(against, np.log(rate / (1 - rate)), intercept)
    return slope / scale, intercept - slope * evidence.mean(0) / scale


def apply_platt(
    evidence: Float[np.ndarray, "texts descriptors"],
    slope: Float[np.ndarray, " descriptors"],
    intercept: Float[np.ndarray, " descriptors"],
) -> Float[np.ndarray, "texts descriptors"]:
    """Probabilities from evidence."""
    return 1 / (1 + np.exp(-np.clip(slope * evidence + intercept, -35, 35)))
