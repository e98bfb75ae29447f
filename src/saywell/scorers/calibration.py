"""From evidence to probability."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def fit_platt(
    evidence: Float[np.ndarray, "texts descriptors"],
    truth: Bool[np.ndarray, "texts descriptors"],
    *,
    iterations: int = 50,
) -> tuple[Float[np.ndarray, " descriptors"], Float[np.ndarray, " descriptors"]]:
    """Slope and intercept per descriptor, so that sigmoid(slope * evidence + intercept) is a probability.

    Platt (1999): logistic regression on one number, with targets drawn in from 0 and 1 as if one
    more text of each kind had been seen. A slope that would be negative is 0: evidence may count
    for nothing, never against its own descriptor. Fitted by Newton's method, all descriptors at
    once.
    """
    positives, n = truth.sum(0), len(truth)
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (n - positives + 2))
    scale = np.maximum(evidence.std(0), 1e-12)
    x = (evidence - evidence.mean(0)) / scale
    slope = np.zeros(evidence.shape[1])
    rate = target.mean(0)
    intercept = np.log(rate / (1 - rate))
    for _ in range(iterations):
        p = 1 / (1 + np.exp(-np.clip(slope * x + intercept, -35, 35)))
        residual, weight = p - target, np.maximum(p * (1 - p), 1e-9)
        # The small ridge keeps separable data finite.
        gradient = (residual * x).sum(0) + 1e-3 * slope, residual.sum(0)
        aa, ab, bb = (weight * x * x).sum(0) + 1e-3, (weight * x).sum(0), weight.sum(0)
        determinant = np.maximum(aa * bb - ab * ab, 1e-12)
        step_slope = (bb * gradient[0] - ab * gradient[1]) / determinant
        step_intercept = (aa * gradient[1] - ab * gradient[0]) / determinant
        slope, intercept = (
            slope - np.clip(step_slope, -2, 2),
            intercept - np.clip(step_intercept, -2, 2),
        )
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
