"""Forward stepwise selection: the texts of each class that together tell the images apart best.

The rules of `text_influence` score one text at a time, to first order: ten copies of the best text
would be chosen happily. Here a text is worth what it does to the loss of the classifier that the
texts chosen so far make: in every round each class takes the text that lowers the loss on labelled
images most. The classifier is that of zero-shot classification, the softmax of the mean cosine with
each class's texts, so the effect of a text is computed and not estimated.

This fits texts to labelled images, and enough of anything can be fitted: the same search among
random words is the control that says how much of the accuracy is owed to what the texts mean.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

SCALES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Factors of the cosine in the softmax to choose from."""
_USUAL = 20.0  # where there are too few images to choose


def stepwise(
    similarity: Float[np.ndarray, "images texts"],
    labels: Int[np.ndarray, " images"],
    text_class: Int[np.ndarray, " texts"],
    k: int,
    *,
    scale: float | None = None,
    seed: int = 0,
) -> Float[np.ndarray, " texts"]:
    """The score of a text is minus its place in the order of choice: -1 for its class's first.

    `similarity` holds cosines of labelled images, which are not the test images, with the texts. A
    class starts as the mean of all its texts and is from the first round on the mean of those it has
    taken. Classes take turns, those with the highest loss first, and every class weighs the same in
    the loss. After `k` rounds the other texts are placed by the loss they would give if taken next.
    NaN for texts of classes without images. Equal losses are ordered at random from `seed`.

    `scale` multiplies the cosines. Where None it is the one of SCALES whose choice from one half of
    the images classifies the other half best, in both directions.
    """
    scores = np.full(len(text_class), np.nan)
    rows = np.isin(labels, text_class)
    if not rows.any():
        return scores
    names, columns = np.unique(text_class, return_inverse=True)
    # A random order of the texts decides ties; `argmin` takes the first.
    order = np.random.default_rng(seed).permutation(len(text_class))
    cosines, own = similarity[np.ix_(rows, order)].astype(float), columns[order]
    truth = np.searchsorted(names, labels[rows])
    if scale is None:
        scale = _best_scale(cosines, truth, own, k)
    places = _places(cosines, truth, own, k, scale)
    scores[order] = np.where(np.isin(own, truth), -places, np.nan)
    return scores


def _places(
    cosines: Float[np.ndarray, "images texts"],
    truth: Int[np.ndarray, " images"],
    own: Int[np.ndarray, " texts"],
    k: int,
    scale: float,
) -> Float[np.ndarray, " texts"]:
    """The place of every text in its class's order, from 1."""
    classes = int(own.max()) + 1
    counts = np.bincount(truth, minlength=classes)
    weights = 1 / counts[truth] / np.count_nonzero(counts)
    texts = [np.flatnonzero(own == c) for c in range(classes)]
    places = np.full(len(own), np.inf)
    sums = np.zeros((len(truth), classes))
    # Cosines times scale are at most 160, and the exponential of that is far from overflow.
    odds = np.exp(scale * np.stack([cosines[:, t].mean(1) for t in texts], axis=1))
    at = np.arange(len(truth))

    def losses(c: int, round_: int, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss if class c took each of the texts left, and the logits it would then have."""
        logits = (sums[:, [c]] + cosines[:, left]) * (scale / round_)
        others = np.maximum(odds.sum(1) - odds[:, c], 1e-300)
        right = np.where((truth == c)[:, None], logits, np.log(odds[at, truth])[:, None])
        return weights @ (np.logaddexp(logits, np.log(others)[:, None]) - right), logits

    for round_ in range(1, k + 1):
        wrong = weights * (np.log(odds.sum(1)) - np.log(odds[at, truth]))
        for c in np.argsort(-np.bincount(truth, wrong, minlength=classes), kind="stable"):
            left = texts[c][np.isinf(places[texts[c]])]
            if len(left):
                loss, logits = losses(c, round_, left)
                best = int(loss.argmin())
                places[left[best]] = round_
                sums[:, c] += cosines[:, left[best]]
                odds[:, c] = np.exp(logits[:, best])
    for c in range(classes):
        left = texts[c][np.isinf(places[texts[c]])]
        if len(left):
            loss, _ = losses(c, k + 1, left)
            places[left[loss.argsort(kind="stable")]] = k + 1 + np.arange(len(left))
    return places


def _best_scale(cosines: np.ndarray, truth: np.ndarray, own: np.ndarray, k: int) -> float:
    place = np.zeros(len(truth), dtype=np.int64)
    for c in np.unique(truth):
        members = np.flatnonzero(truth == c)
        place[members] = np.arange(len(members))
    if place.max() == 0:
        return _USUAL
    halves = [place % 2 == part for part in (0, 1)]
    right = [
        sum(_right(cosines[~half], truth[~half], own,
                   _places(cosines[half], truth[half], own, k, scale) <= k)
            for half in halves)
        for scale in SCALES
    ]  # fmt: skip
    return SCALES[int(np.argmax(right))]


def _right(cosines: np.ndarray, truth: np.ndarray, own: np.ndarray, chosen: np.ndarray) -> int:
    """How many images the mean cosine with the chosen texts gets right."""
    classes = np.unique(own)
    means = np.stack([cosines[:, chosen & (own == c)].mean(1) for c in classes], axis=1)
    return int((classes[means.argmax(1)] == truth).sum())
