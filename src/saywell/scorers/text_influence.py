"""Which texts of a class help a classifier of its images: the rules, and their controls.

Every rule gives one score a text, higher is better; scores compare texts of one class. NaN where
the rule has nothing to go by. `similarity[i, t]` is the cosine of image i and text t.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from saywell.influence import tracin
from saywell.influence.proponents import Strongest, opponents_anywhere, proponents
from saywell.influence.tracin import Examples, HeadCheckpoints
from saywell.influence.training import train_head
from saywell.scorers.stepwise import stepwise
from saywell.transfer.centring import balanced_mean, centred, unit

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
    for text, name in enumerate(text_class):
        own = helping[name]
        if len(own.rows):
            scores[text] = own.values.mean() + similarity[own.rows, text].mean()
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
    for text, name in enumerate(text_class):
        own = helping[name]
        if len(own.rows) == 0:
            continue
        scores[text] = own.shares() @ z[own.rows, text]
        if harming is not None and len(harming[name].rows):
            scores[text] -= harming[name].shares() @ z[harming[name].rows, text]
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
    validation: Examples,
    checkpoints: HeadCheckpoints,
    *,
    on: Literal["class", "all"] = "class",
) -> Float[np.ndarray, " texts"]:
    """R3: TracIn of the text itself, as a training example (embedding, class) of the linear head.

    On the class's validation images, as the method says, or `on="all"`: on those of every class,
    which also counts the harm that a text does to other classes. Texts and images have to be in one
    space without the modality gap (`saywell.transfer.centring`).
    """
    examples = Examples(texts, text_class)
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
    near = np.argsort(-similarity, axis=0, kind="stable")[:neighbours]
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
    """Control: eq. 2 without the cosine. It is one number a class, so the choice inside it"
    " is the tie's."""
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
    """The k texts of each class with the highest scores, all where it has fewer; NaN is never
    chosen.

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


def score_texts(
    train: Examples,
    validation: Examples,
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    *,
    classes: int,
    strings: Sequence[str] | None = None,
    texts_a_class: int = PROPONENT_TEXTS,
    images_a_class: int = 100,
    neighbours: int = 5,
    rates: Float[np.ndarray, " epochs"] | None = None,
    only: str | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " texts"]]:
    """Every rule and control, or `only` one, on embeddings of one image-text space.

    Nothing but train and validation images is looked at. A linear head is trained on the centred
    training images with checkpoints, and influence is measured on the validation images. Each class
    takes at most `images_a_class` proponents; `stepwise` chooses sets of `texts_a_class` on training
    and validation images. Keys: ift-literal, ift-proponent, ift-opponent (with the opponents of
    every class), text-influence, text-influence-all, nearest, stepwise; clip-only, influence-only,
    random, and longest where `strings` are given.
    """
    images, held = unit(np.asarray(train.features)), unit(np.asarray(validation.features))
    labels = np.asarray(train.labels)
    image_mean = balanced_mean(images, labels)
    seen = Examples(centred(images, image_mean), labels)
    check = Examples(centred(held, image_mean), validation.labels)
    words = unit(texts)

    def placed() -> Float[np.ndarray, " texts"]:
        # It estimates nothing that would have to be held out: every labelled image counts, once.
        if validation is train:
            return stepwise(images @ words.T, labels, text_class, texts_a_class, seed=seed)
        cosines = np.concatenate([images, held]) @ words.T
        known = np.concatenate([labels, np.asarray(check.labels)])
        return stepwise(cosines, known, text_class, texts_a_class, seed=seed)

    if only == "stepwise":
        return {"stepwise": placed()}
    words_centred = centred(words, balanced_mean(words, text_class)) if len(words) else words
    head = train_head(seen, classes, rates=rates, seed=seed)
    influence = tracin.mean_over_classes(seen, check, head)
    own = influence[np.arange(len(labels)), labels]
    helping = proponents(own, labels, classes, images_a_class)
    # All of them: the few strongest are odd images that say little about what the class is not.
    harming = opponents_anywhere(influence, len(labels))
    similarity = images @ words.T
    scores = {
        "ift-literal": ift_literal(similarity, helping, text_class),
        "ift-proponent": ift_proponent(similarity, labels, helping, text_class),
        "ift-opponent": ift_proponent(similarity, labels, helping, text_class, harming),
        "text-influence": text_influence(words_centred, text_class, check, head),
        "text-influence-all": text_influence(words_centred, text_class, check, head, on="all"),
        "nearest": nearest(seen.features @ words_centred.T, influence, text_class, neighbours),
        "clip-only": clip_only(similarity, labels, text_class),
        "influence-only": influence_only(helping, text_class),
        "random": at_random(len(texts), seed),
    }
    if strings is not None:
        scores["longest"] = longest(strings)
    if only is not None:
        return {only: scores[only]} if only in scores else {}
    return scores | {"stepwise": placed()}


def score_texts_inside(
    train: Examples,
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    *,
    classes: int,
    folds: int = 4,
    **options: Any,
) -> dict[str, Float[np.ndarray, " texts"]]:
    """`score_texts` without validation images: each part of the training images in turn takes
    their place.

    Scores are means over the parts. A class's images are dealt out in turn; where no class has two,
    the training images are their own validation images.
    """
    labels = np.asarray(train.labels)
    place = np.zeros(len(labels), dtype=np.int64)
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        place[own] = np.arange(len(own))
    parts = min(folds, int(place.max(initial=0)) + 1)
    if parts < 2:
        return score_texts(train, train, texts, text_class, classes=classes, **options)
    features = np.asarray(train.features)
    every = []
    for part in range(parts):
        held = place % parts == part
        fit, check = (
            Examples(features[~held], labels[~held]),
            Examples(features[held], labels[held]),
        )
        every.append(score_texts(fit, check, texts, text_class, classes=classes, **options))
    return {name: _mean_of_known(np.stack([scores[name] for scores in every])) for name in every[0]}


def _mean_of_known(values: Float[np.ndarray, "parts texts"]) -> Float[np.ndarray, " texts"]:
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
