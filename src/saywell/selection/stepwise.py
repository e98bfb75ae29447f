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
MOST_IMAGES = 5_000
"""Images that are looked at, an equal share of each class; more would change little."""
_USUAL = 20.0  # where there are too few images to choose
_BLOCK = 50_000  # numbers at once
_LEAST = 1e-300  # in place of 0


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
    names, columns = np.unique(text_class, return_inverse=True)
    random = np.random.default_rng(seed)
    # A random order of the texts decides ties; `argmin` takes the first.
    order = random.permutation(len(text_class))
    rows = _share(np.flatnonzero(np.isin(labels, names)), labels, random)
    if not len(rows):
        return scores
    cosines, own = similarity[np.ix_(rows, order)].astype(float), columns[order]
    truth = np.searchsorted(names, labels[rows])
    if scale is None:
        scale = _best_scale(cosines, truth, own, k)
    places = _places(cosines, truth, own, k, scale)
    scores[order] = np.where(np.isin(own, truth), -places, np.nan)
    return scores


def _share(
    rows: Int[np.ndarray, " some"], labels: Int[np.ndarray, " images"], random: np.random.Generator
) -> Int[np.ndarray, " fewer"]:
    """All rows where they are few enough, else as many of each class, at random."""
    if len(rows) <= MOST_IMAGES:
        return rows
    each = max(1, MOST_IMAGES // len(np.unique(labels[rows])))
    shuffled = random.permutation(rows)
    own = labels[shuffled]
    return np.sort(np.concatenate([shuffled[own == c][:each] for c in np.unique(own)]))


def _places(
    cosines: Float[np.ndarray, "images texts"],
    truth: Int[np.ndarray, " images"],
    own: Int[np.ndarray, " texts"],
    k: int,
    scale: float,
) -> Float[np.ndarray, " texts"]:
    """The place of every text in its class's order, from 1."""
    classes, images = int(own.max()) + 1, np.arange(len(truth))
    counts = np.bincount(truth, minlength=classes)
    weights = 1 / counts[truth] / np.count_nonzero(counts)
    texts = [np.flatnonzero(own == c) for c in range(classes)]
    members = [np.flatnonzero(truth == c) for c in range(classes)]
    places = np.full(len(own), np.inf)
    # Texts and classes stand in rows: what is read together lies together.
    logits = np.ascontiguousarray(cosines.T) * scale
    sums = np.zeros((classes, len(truth)))
    # Cosines times scale are at most 160, and the exponential of that is far from overflow.
    odds = np.exp(np.stack([logits[t].mean(0) for t in texts]))

    def losses(c: int, round_: int, left: np.ndarray) -> np.ndarray:
        """The loss if class c took each of the texts left, up to a constant."""
        found = np.zeros(len(left))
        others = np.maximum(total - odds[c], _LEAST)
        step = max(1, _BLOCK // len(left))
        for start in range(0, len(truth), step):  # a block stays in the processor's cache
            at = slice(start, start + step)
            new = np.exp((logits[left, at] + sums[c, at]) / round_)
            found += np.log(new + others[at]) @ weights[at]
        mine = members[c]
        return found - (logits[np.ix_(left, mine)] + sums[c, mine]) @ weights[mine] / round_

    for round_ in range(1, k + 1):
        if not np.isinf(places).any():
            break
        total = odds.sum(0)  # anew in every round: what rounding did to it does not add up
        wrong = weights * (np.log(total) - np.log(odds[truth, images]))
        for c in np.argsort(-np.bincount(truth, wrong, minlength=classes), kind="stable"):
            left = texts[c][np.isinf(places[texts[c]])]
            if len(left):
                best = left[losses(c, round_, left).argmin()]
                places[best] = round_
                sums[c] += logits[best]
                new = np.exp(sums[c] / round_)
                total = np.maximum(total - odds[c], _LEAST) + new
                odds[c] = new
    total = odds.sum(0)
    for c in range(classes):
        left = texts[c][np.isinf(places[texts[c]])]
        if len(left):
            order = losses(c, k + 1, left).argsort(kind="stable")
            places[left[order]] = k + 1 + np.arange(len(left))
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
        sum(
            _right(cosines[~half], truth[~half], own, _places(cosines[half], truth[half], own, k, scale) <= k)
            for half in halves
        )
        for scale in SCALES
    ]
    return SCALES[int(np.argmax(right))]


def _right(cosines: np.ndarray, truth: np.ndarray, own: np.ndarray, chosen: np.ndarray) -> int:
    """How many images the mean cosine with the chosen texts gets right."""
    classes = np.unique(own)
    means = np.stack([cosines[:, chosen & (own == c)].mean(1) for c in classes], axis=1)
    return int((classes[means.argmax(1)] == truth).sum())
