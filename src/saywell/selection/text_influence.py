"""Which texts of a class help a classifier of its images: the rules, and their controls.

Every rule gives one score a text, higher is better; scores compare texts of one class. NaN where
the rule has nothing to go by. `similarity[i, t]` is the cosine of image i and text t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from saywell.encoders.vectors import unit_length
from saywell.influence import tracin
from saywell.influence.proponents import Strongest, opponents, proponents
from saywell.influence.tracin import HeadCheckpoints, Labelled
from saywell.influence.training import train_head
from saywell.selection.stepwise import stepwise
from saywell.store.table import Table
from saywell.transfer.centring import balanced_mean, centred

TEXT_SCORES = Table(
    "text_scores",
    {
        "text": pl.String,
        "class": pl.String,
        "rule": pl.String,
        "network": pl.Boolean,
        "score": pl.Float64,
        "rank": pl.Int32,
        "chosen": pl.Boolean,
    },
    key=("text", "rule", "network"),
    version=2,
)
"""What each rule and control says of each usable text, from describe and select images.

`rank` 1 is the best of its class; null where the rule has nothing to go by. `network`: by influence in
a network trained from pixels instead of in a linear head.
"""
PROPONENT_TEXTS = 10
"""Texts chosen for a class, as in the paper."""


def ift_literal(
    similarity: Float[np.ndarray, "images texts"],
    helping: Sequence[Strongest],
    text_class: Int[np.ndarray, " texts"],
) -> Float[np.ndarray, " texts"]:
    """R1, eq. 2 as printed: the mean over a class's proponent images of influence plus cosine.

    `helping[c]` holds the proponents of class c with their influence, already the mean over
    validation images. The influence does not depend on the text: inside a class the order is that
    of the mean cosine with the proponents.
    """
    scores = np.full(len(text_class), np.nan)
    for name in np.unique(text_class):
        best, own = helping[name], np.flatnonzero(text_class == name)
        if len(best.rows):
            scores[own] = best.values.mean() + similarity[np.ix_(best.rows, own)].mean(0)
    return scores


def ift_proponent(
    similarity: Float[np.ndarray, "images texts"],
    labels: Int[np.ndarray, " images"],
    helping: Sequence[Strongest],
    text_class: Int[np.ndarray, " texts"],
    harming: Sequence[Strongest] | None = None,
) -> Float[np.ndarray, " texts"]:
    """R2: the influence-weighted mean, over a class's proponent images, of the standardised cosine.

    sum_t a_t z(cosine of t and text), a_t the proponents' influences divided by their sum. Where
    `harming` is given, the same mean over the opponents is subtracted.
    """
    z = standardised(similarity, labels)
    scores = np.full(len(text_class), np.nan)
    for name in np.unique(text_class):
        best, own = helping[name], np.flatnonzero(text_class == name)
        if len(best.rows) == 0:
            continue
        scores[own] = best.shares() @ z[np.ix_(best.rows, own)]
        if harming is not None and len(harming[name].rows):
            worst = harming[name]
            scores[own] -= worst.shares() @ z[np.ix_(worst.rows, own)]
    return scores


def standardised(
    similarity: Float[np.ndarray, "images texts"], labels: Int[np.ndarray, " images"]
) -> Float[np.ndarray, "images texts"]:
    """Each text's cosines at mean 0 and variance 1 over the images, every class weighing the same.

    A text that is close to every image is then no longer close to any.
    """
    mean = balanced_mean(similarity, labels)
    spread = np.sqrt(balanced_mean(np.square(similarity - mean), labels))
    return (similarity - mean) / np.where(spread > 0, spread, 1)


def text_influence(
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    validation: Labelled,
    checkpoints: HeadCheckpoints,
    *,
    on: Literal["class", "all"] = "class",
) -> Float[np.ndarray, " texts"]:
    """R3: TracIn of the text itself, as a training example (embedding, class) of the linear head.

    On the class's validation images, as the method says, or `on="all"`: on those of every class,
    which also counts the harm that a text does to other classes. Texts and images have to be in one
    space without the modality gap (`saywell.transfer.centring`).
    """
    examples = Labelled(texts, text_class)
    if on == "class":
        return tracin.mean_over_own_class(examples, validation, checkpoints)
    by_class = tracin.mean_over_classes(examples, validation, checkpoints)
    # Every class weighs the same, however many validation images it has.
    seen = ~np.isnan(by_class).all(0)
    return by_class[:, seen].mean(1) if seen.any() else np.full(len(texts), np.nan)


def nearest(
    similarity: Float[np.ndarray, "images texts"],
    influence: Float[np.ndarray, "images classes"],
    text_class: Int[np.ndarray, " texts"],
    neighbours: int = 5,
) -> Float[np.ndarray, " texts"]:
    """R4: a text inherits the mean influence on its class of the training images nearest to it."""
    # In the order of the images: texts with the same neighbours have the same score, to the last digit.
    near = np.sort(np.argsort(-similarity, axis=0, kind="stable")[:neighbours], axis=0)
    return influence[near, text_class].mean(0)


def clip_only(
    similarity: Float[np.ndarray, "images texts"],
    labels: Int[np.ndarray, " images"],
    text_class: Int[np.ndarray, " texts"],
) -> Float[np.ndarray, " texts"]:
    """Control: the mean cosine of a text with its class's training images."""
    scores = np.full(len(text_class), np.nan)
    for name in np.intersect1d(text_class, labels):
        own = text_class == name
        scores[own] = similarity[labels == name][:, own].mean(0)
    return scores


def influence_only(
    helping: Sequence[Strongest], text_class: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " texts"]:
    """Control: eq. 2 without the cosine. It is one number a class, so the choice inside it is the tie's."""
    values = np.array([own.values.mean() if len(own.rows) else np.nan for own in helping])
    return values[text_class]


def at_random(texts: int, seed: int) -> Float[np.ndarray, " texts"]:
    """Control: a number drawn for every text."""
    return np.random.default_rng(seed).random(texts)


def longest(texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
    """Control: the number of characters."""
    return np.array([len(text) for text in texts], dtype=float)


def select(
    scores: Float[np.ndarray, " texts"],
    text_class: Int[np.ndarray, " texts"],
    k: int = PROPONENT_TEXTS,
    *,
    seed: int = 0,
) -> Bool[np.ndarray, " texts"]:
    """The k texts of each class with the highest scores, all where it has fewer; NaN is never chosen.

    Equal scores are ordered at random from `seed`: the order of texts in a file means something,
    and a rule that cannot tell texts apart must not profit from it.
    """
    chosen = np.zeros(len(scores), dtype=bool)
    tie = np.random.default_rng(seed).random(len(scores))
    order = np.lexsort((tie, -scores))
    order = order[~np.isnan(scores[order])]
    for name in np.unique(text_class):
        chosen[order[text_class[order] == name][:k]] = True
    return chosen


class Measured:
    """Labelled images, and the influence of the first kind on the second.

    It is computed once for all the texts that are scored by it, and not before it is asked for.

    Nothing but train and validation images is looked at. A linear head is trained on the centred
    training images with checkpoints (at learning rates `rates`, one an epoch), and influence is measured
    on the validation images. Each class takes at most `images_a_class` proponents.
    """

    def __init__(
        self,
        train: Labelled,
        validation: Labelled,
        *,
        classes: int,
        images_a_class: int = 100,
        rates: Float[np.ndarray, " epochs"] | None = None,
        seed: int = 0,
    ) -> None:
        self.images, self.labels = unit_length(np.asarray(train.features)), np.asarray(train.labels)
        self.held, self.held_labels = self.images, self.labels
        self._apart = validation is not train
        if self._apart:
            self.held = unit_length(np.asarray(validation.features))
            self.held_labels = np.asarray(validation.labels)
        self._classes, self._most, self._rates, self._seed = classes, images_a_class, rates, seed

    def known(self) -> tuple[Float[np.ndarray, "known dim"], Int[np.ndarray, " known"]]:
        """Every labelled image, once."""
        if not self._apart:
            return self.images, self.labels
        return (np.concatenate([self.images, self.held]), np.concatenate([self.labels, self.held_labels]))

    @cached_property
    def seen(self) -> Labelled:
        """The training images without their mean."""
        return Labelled(centred(self.images, self._mean), self.labels)

    @cached_property
    def check(self) -> Labelled:
        """The validation images without the mean of the training images."""
        return Labelled(centred(self.held, self._mean), self.held_labels)

    @cached_property
    def head(self) -> HeadCheckpoints:
        """The linear classifier of the training images."""
        return train_head(self.seen, self._classes, rates=self._rates, seed=self._seed)

    @cached_property
    def influence(self) -> Float[np.ndarray, "images classes"]:
        """Of each training image on the validation images of each class."""
        return tracin.mean_over_classes(self.seen, self.check, self.head)

    @cached_property
    def helping(self) -> list[Strongest]:
        """The proponents of each class."""
        own = self.influence[np.arange(len(self.labels)), self.labels]
        return proponents(own, self.labels, self._classes, self._most)

    @cached_property
    def harming(self) -> list[Strongest]:
        """The opponents of each class, all of them.

        The few strongest are odd images that say little about what the class is not.
        """
        return opponents(self.influence, len(self.labels))

    @cached_property
    def _mean(self) -> Float[np.ndarray, " dim"]:
        return balanced_mean(self.images, self.labels)


def measured_inside(train: Labelled, *, folds: int = 4, **options: Any) -> list[Measured]:
    """`Measured` without validation images: each part of the training images in turn takes their place.

    A class's images are dealt out in turn; where no class has two, the training images are their own
    validation images. `options` are those of `Measured`.
    """
    labels = np.asarray(train.labels)
    place = np.zeros(len(labels), dtype=np.int64)
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        place[own] = np.arange(len(own))
    parts = min(folds, int(place.max(initial=0)) + 1)
    if parts < 2:
        return [Measured(train, train, **options)]
    features = np.asarray(train.features)
    return [
        Measured(
            Labelled(features[place % parts != part], labels[place % parts != part]),
            Labelled(features[place % parts == part], labels[place % parts == part]),
            **options,
        )
        for part in range(parts)
    ]


def score_texts(
    measured: Sequence[Measured],
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    *,
    strings: Sequence[str] | None = None,
    texts_a_class: int = PROPONENT_TEXTS,
    neighbours: int = 5,
    only: str | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " texts"]]:
    """Every rule and control, or `only` one, on embeddings of one image-text space.

    `measured` is one split of labelled images, or several (`measured_inside`): then scores are means
    over them. `stepwise` chooses sets of `texts_a_class` on training and validation images.
    Keys: ift-literal, ift-proponent, ift-opponent (with the opponents of every class),
    text-influence, text-influence-all, nearest, clip-only, influence-only, random, longest where
    `strings` are given, stepwise; no key where `only` names none of them.
    """
    every = [
        _scores(one, texts, text_class, strings, texts_a_class, neighbours, only, seed) for one in measured
    ]
    if len(every) == 1:
        return every[0]
    return {name: _mean_of_known(np.stack([scores[name] for scores in every])) for name in every[0]}


def _scores(
    measured: Measured,
    texts: np.ndarray,
    text_class: np.ndarray,
    strings: Sequence[str] | None,
    texts_a_class: int,
    neighbours: int,
    only: str | None,
    seed: int,
) -> dict[str, np.ndarray]:
    m, words, labels = measured, unit_length(texts), measured.labels
    shifted = centred(words, balanced_mean(words, text_class)) if len(words) else words
    similarity = m.images @ words.T

    def placed() -> np.ndarray:
        # It estimates nothing that would have to be held out: every labelled image counts, once.
        images, known = m.known()
        return stepwise(images @ words.T, known, text_class, texts_a_class, seed=seed)

    rules: dict[str, Callable[[], np.ndarray]] = {
        "ift-literal": lambda: ift_literal(similarity, m.helping, text_class),
        "ift-proponent": lambda: ift_proponent(similarity, labels, m.helping, text_class),
        "ift-opponent": lambda: ift_proponent(similarity, labels, m.helping, text_class, m.harming),
        "text-influence": lambda: text_influence(shifted, text_class, m.check, m.head),
        "text-influence-all": lambda: text_influence(shifted, text_class, m.check, m.head, on="all"),
        "nearest": lambda: nearest(m.seen.features @ shifted.T, m.influence, text_class, neighbours),
        "clip-only": lambda: clip_only(similarity, labels, text_class),
        "influence-only": lambda: influence_only(m.helping, text_class),
        "random": lambda: at_random(len(texts), seed),
    }
    if strings is not None:
        rules["longest"] = lambda: longest(strings)
    rules["stepwise"] = placed
    return {name: make() for name, make in rules.items() if only in (None, name)}


def _mean_of_known(values: Float[np.ndarray, "parts texts"]) -> Float[np.ndarray, " texts"]:
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
