"""Classifying images by descriptions alone, and the descriptions that should not be able to."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from saywell.data.words import whole_words
from saywell.encoders.vectors import unit_length

TEMPLATES = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a drawing of a {}.",
    "a painting of a {}.",
)
"""Sentences around a class name, averaged (Radford et al. 2021 use 80 of this kind)."""


def class_embeddings(
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
    weights: Float[np.ndarray, " texts"] | None = None,
) -> Float[np.ndarray, "classes dim"]:
    """The weighted mean of the unit embeddings of each class's texts; NaN for a class without texts.

    It is not brought to length 1, so that its product with a unit image embedding is the mean
    cosine.
    """
    weights = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=float)
    sums = np.zeros((classes, texts.shape[1]))
    np.add.at(sums, text_class, weights[:, None] * unit_length(texts, float))
    totals = np.bincount(text_class, weights, minlength=classes)
    return sums / np.where(totals > 0, totals, np.nan)[:, None]


def class_scores(
    images: Float[np.ndarray, "images dim"], classes: Float[np.ndarray, "classes dim"]
) -> Float[np.ndarray, "images classes"]:
    """Mean cosine of each image with the texts of each class (eq. of section A.7), higher is likelier.

    -inf for classes without texts, which are therefore never predicted.
    """
    scores = unit_length(images, float) @ np.nan_to_num(classes).T
    scores[:, np.isnan(classes).any(1)] = -np.inf
    return scores


def predict(
    images: Float[np.ndarray, "images dim"], classes: Float[np.ndarray, "classes dim"]
) -> Int[np.ndarray, " images"]:
    """The class with the highest score; -1 where no class has texts."""
    scores = class_scores(images, classes)
    return np.where(np.isneginf(scores.max(1)), -1, scores.argmax(1))


def name_texts(
    names: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> tuple[list[str], Int[np.ndarray, " texts"]]:
    """Every name in every template, and the class of each text."""
    # `replace`, not `format`: a name or template may hold braces of its own.
    texts = [template.replace("{}", name) for name in names for template in templates]
    return texts, np.repeat(np.arange(len(names)), len(templates))


def mask_names(texts: Sequence[str], names: Sequence[str], instead: str = "object") -> list[str]:
    """The texts with every class name, of whatever class, replaced.

    Longer names go first; case, the kind of gap between words, and a plural or possessive ending
    do not matter. Only whole words: 'cat' does not touch 'catalogue'. Synonyms and parts of names
    stay.
    """
    wanted = sorted({name.strip() for name in names if name.strip()}, key=lambda n: (-len(n), n))
    if not wanted:
        return list(texts)
    gap = r"[\s_\-]+"
    bodies = [gap.join(map(re.escape, re.split(gap, name))) for name in wanted]
    names_and_endings = rf"(?:{'|'.join(bodies)})(?:'s|’s|es|s)?"
    pattern_for = whole_words(names_and_endings, re.IGNORECASE)
    return [pattern_for(text).sub(lambda found: instead, text) for text in texts]


def random_texts(
    names: Sequence[str],
    per_class: int | Sequence[int],
    *,
    words: Sequence[str],
    seed: int,
    with_name: bool = True,
) -> tuple[list[str], Int[np.ndarray, " texts"]]:
    """Descriptions made of random words and of random characters, by turns (WaffleCLIP, Roth et al. 2023).

    `per_class` is one number for all classes or one each. `words` is what the random words are
    taken from, for example all words of the real texts. Whatever these texts achieve is owed to
    averaging and to the class name.
    """
    random = np.random.default_rng(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    amounts = [per_class] * len(names) if isinstance(per_class, int) else list(per_class)
    texts = []
    for name, amount in zip(names, amounts, strict=True):
        for number in range(amount):
            if number % 2 == 0 and words:
                first, second = random.integers(0, len(words), 2)
                noise = f"{words[first]} {words[second]}"
            else:
                noise = " ".join("".join(letters[i] for i in random.integers(0, 26, 5)) for _ in range(2))
            start = f"a photo of a {name}, which has" if with_name else "a photo of something which has"
            texts.append(f"{start} {noise}.")
    return texts, np.repeat(np.arange(len(names)), amounts)


def permute_classes(
    text_class: Int[np.ndarray, " texts"], classes: int, seed: int
) -> Int[np.ndarray, " texts"]:
    """The texts of each class handed to another class as a whole; no class keeps its own.

    With one class there is no other, and the texts stay.
    """
    order = np.random.default_rng(seed).permutation(classes)
    new = np.empty(classes, dtype=np.int64)
    new[order] = np.roll(order, 1)
    return new[text_class]


def neighbourhood_scores(
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    images: Float[np.ndarray, "images dim"],
    labels: Int[np.ndarray, " images"],
    classes: int,
    neighbours: int = 3,
) -> Float[np.ndarray, " texts"]:
    """How much closer a text is to its class's images than to those of the classes easily confused with it.

    After DisCLIP: descriptions are good when they tell a class from its neighbourhood. A class's
    neighbours are those with the most similar mean image; the score is the text's mean cosine
    with its class's images minus its highest mean cosine with a neighbour's. Positive: it
    discriminates. NaN where the class, or every other class, has no image.
    """
    means = class_embeddings(images, labels, classes)
    seen = ~np.isnan(means[:, 0])
    closeness = unit_length(np.nan_to_num(means)) @ unit_length(np.nan_to_num(means)).T
    closeness[:, ~seen] = -np.inf
    np.fill_diagonal(closeness, -np.inf)
    near = np.argsort(-closeness, axis=1, kind="stable")[:, :neighbours]
    cosine = unit_length(texts, float) @ np.nan_to_num(means).T
    rivals = np.take_along_axis(cosine, near[text_class], axis=1)
    usable: Bool[np.ndarray, "texts near"] = np.isfinite(
        np.take_along_axis(closeness[text_class], near[text_class], axis=1)
    )
    strongest = np.where(usable, rivals, -np.inf).max(1, initial=-np.inf)
    own = cosine[np.arange(len(texts)), text_class]
    return np.where(seen[text_class] & np.isfinite(strongest), own - strongest, np.nan)
