"""How well predictions agree with responses: each measure over many units at once.

Rows are units, columns are examples. A prediction is either a decision (`said`: does it fire?) or a
number (`predicted`: how strongly?); NaN means that the reader gave no answer, and that example is left
out for that unit. Decisions are booleans, or 0, 1 and NaN. `weights` are
inverse inclusion probabilities (see scorers/sampling.py), one per example or one per unit and example;
with them every measure estimates its value over all the examples sampled from.

A measure that is not defined is NaN, never 0: each docstring says when. In `MEASURES`, headline
measures are those that notice missing and extra labels at low firing rates (scorers/sanity.py); the
others are for comparison with published figures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Predictions = Bool[np.ndarray, "units examples"] | Float[np.ndarray, "units examples"]
Truth = Bool[np.ndarray, "units examples"] | Float[np.ndarray, "units examples"]
Weights = Float[np.ndarray, "#units examples"] | Float[np.ndarray, " examples"] | None
PerUnit = Float[np.ndarray, " units"]
Function = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_BLOCK = 2_000_000  # numbers worked on at once


class Measure(NamedTuple):
    """A measure, what it compares, and what a reader of its value should know."""

    function: Callable[..., PerUnit]
    predictions: Literal["said", "predicted"]
    truth: Literal["fires", "response"]
    headline: bool
    misses: str


def answered(predictions: Predictions) -> Bool[np.ndarray, "units examples"]:
    """Where the reader gave an answer."""
    if predictions.dtype == bool:
        return np.ones(predictions.shape, dtype=bool)
    return ~np.isnan(predictions)


def _measure(function: Function) -> Callable[..., PerUnit]:
    """Let a function of float64 arrays without NaN take what this module's docstring promises.

    What was not answered reaches it with weight 0 and prediction 0. Works on a few units at a time.
    """

    @wraps(function)
    def measure(predictions: Predictions, truth: Truth, weights: Weights = None) -> PerUnit:
        units, examples = predictions.shape
        result = np.full(units, np.nan)
        step = max(1, _BLOCK // max(1, examples))
        every = None if weights is None else np.broadcast_to(weights, predictions.shape)
        for start in range(0, units, step):
            block = slice(start, start + step)
            counted = answered(predictions[block])
            given = np.where(counted, predictions[block], 0).astype(np.float64)
            weight = counted * (1.0 if every is None else every[block].astype(np.float64))
            with np.errstate(invalid="ignore", divide="ignore"):
                result[block] = function(given, truth[block].astype(np.float64), weight)
        return result

    return measure


class _Counts(NamedTuple):
    hits: PerUnit
    said: PerUnit
    fires: PerUnit
    total: PerUnit


def _counts(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> _Counts:
    counted = said * weights
    return _Counts((counted * fires).sum(1), counted.sum(1), (fires * weights).sum(1), weights.sum(1))


@_measure
def f1(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """2 hits / (said + fires), 0 to 1, higher is better; NaN where nothing is said and nothing fires."""
    counts = _counts(said, fires, weights)
    return 2 * counts.hits / (counts.said + counts.fires)


@_measure
def iou(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Hits / (said or fires), 0 to 1, higher is better; NaN where nothing is said and nothing fires."""
    counts = _counts(said, fires, weights)
    return counts.hits / (counts.said + counts.fires - counts.hits)


@_measure
def precision(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Hits / said, 0 to 1, higher is better; NaN where nothing is said."""
    counts = _counts(said, fires, weights)
    return counts.hits / counts.said


@_measure
def recall(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Hits / fires, 0 to 1, higher is better; NaN where nothing fires."""
    counts = _counts(said, fires, weights)
    return counts.hits / counts.fires


@_measure
def balanced_accuracy(said: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of the shares right among firing and other examples; chance is 0.5, higher is better.

    NaN where nothing fires or everything does.
    """
    counts = _counts(said, fires, weights)
    silent = counts.total - counts.fires
    return (counts.hits / counts.fires + 1 - (counts.said - counts.hits) / silent) / 2


@_measure
def mean_activation_difference(said: np.ndarray, response: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean response where said minus mean response elsewhere, in units of the response.

    Higher is better, without bound. NaN where it is said of nothing or of everything.
    """
    inside, outside = said * weights, (1 - said) * weights
    return (response * inside).sum(1) / inside.sum(1) - (response * outside).sum(1) / outside.sum(1)


@_measure
def pearson(predicted: np.ndarray, response: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation over the full range of responses, -1 to 1, higher is better.

    NaN where predictions or responses are constant.
    """
    x, y = _centred(predicted, weights), _centred(response, weights)
    scale = np.sqrt((weights * x * x).sum(1) * (weights * y * y).sum(1))
    varied = _varies(predicted, weights) & _varies(response, weights)
    return np.where(varied, np.clip((weights * x * y).sum(1) / scale, -1, 1), np.nan)


@_measure
def cosine(predicted: np.ndarray, response: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cosine of the two rows, -1 to 1, higher is better; NaN where one of them is all 0."""
    below = (weights * predicted**2).sum(1) * (weights * response**2).sum(1)
    return (weights * predicted * response).sum(1) / np.sqrt(below)


@_measure
def auprc(predicted: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision: `sum_n (R_n - R_(n-1)) P_n` over distinct predictions, equal ones together.

    0 to 1, higher is better; chance is the firing rate. As scikit-learn's `average_precision_score`,
    but NaN where nothing fires.
    """
    _, through, firing, weight = _ranked(predicted, fires, weights)
    said = np.take_along_axis(weight.cumsum(1), through, 1)
    hits = np.take_along_axis((firing * weight).cumsum(1), through, 1)
    at = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    counted = firing * weight
    return (counted * at).sum(1) / counted.sum(1)


@_measure
def auroc(predicted: np.ndarray, fires: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chance that a firing example is predicted above another one, ties counting half.

    0 to 1, higher is better, chance is 0.5. NaN where nothing fires or everything does.
    """
    first, through, firing, weight = _ranked(predicted, fires, weights)
    silent = (1 - firing) * weight
    below = silent.cumsum(1)
    # Others above or level, and others strictly above: halfway between counts ties half.
    level = np.take_along_axis(below, through, 1)
    above = np.take_along_axis(below - silent, first, 1)
    counted, others = firing * weight, silent.sum(1)
    beaten = others[:, None] - (level + above) / 2
    return (counted * beaten).sum(1) / (counted.sum(1) * others)


def _ranked(
    predicted: np.ndarray, fires: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and last place of each one's group of equal predictions, firing, weight; highest first."""
    order = np.argsort(-predicted, axis=1)
    ranked, firing, weight = (np.take_along_axis(values, order, 1) for values in (predicted, fires, weights))
    places = np.broadcast_to(np.arange(predicted.shape[1]), predicted.shape)
    differs = ranked[:, 1:] != ranked[:, :-1]
    edge = np.ones((len(predicted), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), places, 0), axis=1)
    last = np.where(np.hstack([differs, edge]), places, predicted.shape[1])
    return first, np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1], firing, weight


def _centred(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return values - ((values * weights).sum(1) / weights.sum(1))[:, None]


def _varies(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counted = weights > 0
    highest = np.where(counted, values, -np.inf).max(1, initial=-np.inf)
    return highest > np.where(counted, values, np.inf).min(1, initial=np.inf)


MEASURES: dict[str, Measure] = {
    "f1": Measure(f1, "said", "fires", True, "how strongly it fires; which of the two errors is made"),
    "iou": Measure(iou, "said", "fires", True, "the same as F1, of which it is a rising function"),
    "pearson": Measure(pearson, "predicted", "response", True, "a few very large responses can decide it"),
    "cosine": Measure(
        cosine,
        "predicted",
        "response",
        True,
        "a constant added to both raises it: only for responses whose rest is 0",
    ),
    "auprc": Measure(
        auprc, "predicted", "fires", True, "where to put the threshold; its floor is the firing rate"
    ),
    "precision": Measure(precision, "said", "fires", False, "firing examples that it does not name"),
    "recall": Measure(recall, "said", "fires", False, "examples that it names wrongly"),
    "balanced_accuracy": Measure(
        balanced_accuracy, "said", "fires", False, "false alarms, when the unit fires rarely"
    ),
    "auroc": Measure(auroc, "predicted", "fires", False, "false alarms, when the unit fires rarely"),
    "mean_activation_difference": Measure(
        mean_activation_difference, "said", "response", False, "firing examples that it does not name"
    ),
}
