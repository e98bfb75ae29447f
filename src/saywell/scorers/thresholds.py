"""From numbers to decisions: the threshold of highest F1, fitted on selection examples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_BLOCK = 1_000_000  # numbers worked on at once


def fit_thresholds(
    predicted: Float[np.ndarray, "units examples"],
    fires: Bool[np.ndarray, "units examples"],
    weights: Float[np.ndarray, "units examples"] | None = None,
) -> Float[np.ndarray, " units"]:
    """The threshold of highest F1 for each unit: the decision is `predicted >= threshold`.

    Thresholds lie midway between distinct predictions; -inf says it of everything, +inf of nothing,
    which is the answer where no example fires. Of thresholds with equal F1 the higher is taken. NaN is
    no answer and left out. To be fitted on selection examples only.
    """
    return fit(predicted, fires, weights)[0]


def fit(
    predicted: Float[np.ndarray, "units examples"],
    fires: Bool[np.ndarray, "units examples"],
    weights: Float[np.ndarray, "units examples"] | None = None,
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """Thresholds as in `fit_thresholds`, and the F1 at each; 0 where no example fires.

    The F1 is on the examples that the threshold was fitted on. It is for choosing between descriptions
    and no score: it is too high.
    """
    units, examples = predicted.shape
    thresholds, values = np.full(units, np.inf), np.zeros(units)
    step = max(1, _BLOCK // max(1, examples))
    for start in range(0, units if examples else 0, step):
        block = slice(start, start + step)
        weight = None if weights is None else weights[block]
        thresholds[block], values[block] = _fit_block(predicted[block], fires[block], weight)
    return thresholds, values


def _fit_block(
    predicted: np.ndarray, fires: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    units, examples = predicted.shape
    order = np.argsort(-predicted, axis=1)  # NaN comes last
    ranked = np.take_along_axis(predicted, order, 1)
    firing = np.take_along_axis(fires, order, 1)
    if np.isnan(ranked[:, -1]).any():
        answered = ~np.isnan(ranked)
        weights = answered * (1.0 if weights is None else np.take_along_axis(weights, order, 1))
    elif weights is not None:
        weights = np.take_along_axis(weights, order, 1)
    if weights is None:
        hits = firing.cumsum(1, dtype=np.float64)
        said = np.broadcast_to(np.arange(1.0, examples + 1), hits.shape)
    else:
        hits, said = (firing * weights).cumsum(1), weights.cumsum(1)
    score = 2 * hits
    score /= np.maximum(said + hits[:, -1:], np.finfo(float).tiny)
    # A threshold parts distinct predictions: NaN differs from NaN, but has no answer to part.
    score[:, :-1][ranked[:, :-1] == ranked[:, 1:]] = -1
    if weights is not None:
        score[np.isnan(ranked)] = -1
    best = score.argmax(1)
    rows = np.arange(units)
    upper = ranked[rows, best].astype(np.float64)
    below = np.minimum(best + 1, examples - 1)
    lower = ranked[rows, below].astype(np.float64)
    everything = (best == examples - 1) | np.isnan(lower)
    with np.errstate(invalid="ignore"):
        middle = upper / 2 + lower / 2
    middle = np.where((middle > lower) & (middle <= upper), middle, upper)
    middle[everything] = -np.inf
    none = hits[:, -1] == 0
    return np.where(none, np.inf, middle), np.where(none, 0.0, score[rows, best])


def decide(
    predicted: Float[np.ndarray, "units examples"], thresholds: Float[np.ndarray, " units"]
) -> Float[np.ndarray, "units examples"]:
    """1 where a prediction reaches its unit's threshold, else 0; NaN stays NaN."""
    said = (predicted >= thresholds[:, None]).astype(np.float32)
    said[np.isnan(predicted)] = np.nan
    return said
