"""The sets of texts that a study of classes compares: chosen by rules, by controls, and by others.

All sets are rows of one pool of embedded texts; a set is a weight for every row, 0 where the text
is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from saywell.data.words import chunk_spans
from saywell.describers.class_texts.class_describer import fit_texts
from saywell.encoders.cache import EmbeddingCache, embed_texts
from saywell.encoders.dual import DualEncoder
from saywell.encoders.precomputed import Precomputed
from saywell.encoders.vectors import unit_length
from saywell.influence.tracin import Labelled
from saywell.scorers.text_influence import (
    Measured,
    at_random,
    clip_only,
    measured_inside,
    score_texts,
    select,
    standardised,
)
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.cross_modal import IMAGES_AND_VALIDATION, IMAGES_ONLY, loss_weights
from saywell.transfer.zero_shot import (
    mask_names,
    name_texts,
    neighbourhood_scores,
    permute_classes,
    random_texts,
)

RULES = (
    "ift-literal",
    "ift-proponent",
    "ift-opponent",
    "text-influence",
    "text-influence-all",
    "nearest",
    "stepwise",
)
CLIP_ONLY, STANDARDISED = "clip-only", "clip-standardised"
CONTROLS = (CLIP_ONLY, STANDARDISED, "influence-only", "neighbourhood", "random", "longest")
NETWORK_RULES = ("ift-literal, network", "ift-proponent, network")
CLASS_NAMES, ALL_TEXTS = "class names", "all texts"
NAME_FREE, WEIGHTED, PERMUTED = ", name-free", ", weighted", "classes permuted"
RANDOM_WORDS, RANDOM_WORDS_FREE = "random words", "random words, name-free"
SEARCHED, SEARCHED_FREE = "random words, searched", "random words, name-free, searched"
FILE = "file: "

TextScores = dict[str, Float[np.ndarray, " texts"]]


@dataclass(frozen=True)
class Pool:
    """Every text that any set may hold, with its class; `parts` says where each kind stands."""

    vectors: Float[np.ndarray, "pool dim"]
    centred: Float[np.ndarray, "pool dim"]
    """Each kind without its own mean, so that what else is in the pool changes nothing."""
    classes: Int[np.ndarray, " pool"]
    parts: Mapping[str, slice]
    lost: Mapping[str, int] = field(default_factory=dict)
    """Texts of each kind that the encoder cannot read."""

    @property
    def texts(self) -> slice:
        """The texts that rules choose from."""
        return self.parts[ALL_TEXTS]


def make_pool(
    strings: Sequence[str],
    text_class: Int[np.ndarray, " texts"],
    names: Sequence[str],
    files: Mapping[str, tuple[list[str], Int[np.ndarray, " texts"]]],
    encoder: DualEncoder,
    cache: EmbeddingCache | None,
    *,
    superclass: str = "",
    per_class: int = 10,
    seed: int = 0,
) -> Pool:
    """Embed the texts, the same without class names, and those of every control and file.

    `strings` are usable texts, which the encoder reads whole; of the others, those it does not are
    left out and counted.
    """
    instead = superclass or "object"
    words = sorted(
        {
            text[start:end].strip(".,;:()'\"。、").lower()
            for text in strings
            for start, end in chunk_spans(text)
        }
    )
    amounts = np.bincount(text_class, minlength=len(names)).tolist()
    kinds: dict[str, tuple[Sequence[str], np.ndarray]] = {
        ALL_TEXTS: (strings, text_class),
        ALL_TEXTS + NAME_FREE: (mask_names(strings, names, instead), text_class),
        PERMUTED: (strings, permute_classes(text_class, len(names), seed)),
        CLASS_NAMES: name_texts(names),
        RANDOM_WORDS: random_texts(names, per_class, words=words, seed=seed),
        RANDOM_WORDS_FREE: random_texts(names, per_class, words=words, seed=seed, with_name=False),
        # As many as there are texts to choose from, for the rule to choose from these.
        SEARCHED: random_texts(names, amounts, words=words, seed=seed),
        SEARCHED_FREE: random_texts(names, amounts, words=words, seed=seed, with_name=False),
    }
    if isinstance(encoder, Precomputed):
        plain = name_texts(names, ("{}", "a {}", "a photo of a {}.", "a photo of a {}"))
        kinds[CLASS_NAMES] = plain
    for name, (texts, place) in files.items():
        kinds[FILE + name] = (texts, place)
        kinds[FILE + name + NAME_FREE] = (mask_names(texts, names, instead), place)
    vectors, shifted, classes, parts = [], [], [], {}
    lost: dict[str, int] = {}
    at = 0
    for kind, (texts, place) in kinds.items():
        # Sets that mirror the texts keep their rows; a text that cannot be read there is a zero.
        kept = np.array(_readable(encoder, texts), dtype=bool)
        if not kept.all():
            lost[kind] = int((~kept).sum())
        if not kind.startswith((ALL_TEXTS, PERMUTED)):
            texts = [text for text, keep in zip(texts, kept, strict=True) if keep]
            place, kept = place[kept], np.ones(len(texts), dtype=bool)
        found = np.zeros((len(texts), encoder.dim), dtype=np.float32)
        readable = [text for text, keep in zip(texts, kept, strict=True) if keep]
        found[kept] = embed_texts(encoder, readable, cache)
        moved = np.zeros_like(found)
        if kept.any():
            moved[kept] = centred(found[kept], balanced_mean(found[kept], place[kept]))
        vectors.append(found)
        shifted.append(moved)
        classes.append(place)
        parts[kind] = slice(at, at + len(texts))
        at += len(texts)
    return Pool(np.concatenate(vectors), np.concatenate(shifted), np.concatenate(classes), parts, lost)


def _readable(encoder: DualEncoder, texts: Sequence[str]) -> list[bool]:
    if isinstance(encoder, Precomputed):
        known = set(encoder.texts)
        return [text in known for text in texts]
    return [
        bool(text.strip()) and n <= encoder.max_tokens
        for text, n in zip(texts, encoder.count_tokens(texts), strict=True)
    ]


def readable_files(
    files: Mapping[str, tuple[list[str], Int[np.ndarray, " texts"]]], encoder: DualEncoder
) -> dict[str, tuple[list[str], Int[np.ndarray, " texts"]]]:
    """The texts of files in pieces that the encoder reads whole."""
    result = {}
    for name, (texts, place) in files.items():
        fits = fit_texts(texts, encoder)
        pieces = [(piece, c) for fit, c in zip(fits, place, strict=True) for piece in fit.pieces]
        result[name] = ([p for p, _ in pieces], np.array([c for _, c in pieces], dtype=np.int64))
    return result


@dataclass(frozen=True)
class Choosing:
    """The labelled images that rules choose by.

    They are `train`, measured against `beside` where there are any, else inside `train` by cross-
    validation. What images alone say is computed once, whatever texts are scored.
    """

    train: Labelled
    measured: Sequence[Measured]
    classes: int


def choosing(
    images: Float[np.ndarray, "images dim"],
    labels: Int[np.ndarray, " images"],
    fit: Int[np.ndarray, " fit"],
    beside: Int[np.ndarray, " beside"],
    classes: int,
    *,
    seed: int = 0,
) -> Choosing:
    """Images of the rows `fit` and `beside` to choose by."""
    train = Labelled(images[fit], labels[fit])
    if not len(beside):
        return Choosing(train, measured_inside(train, classes=classes, seed=seed), classes)
    check = Labelled(images[beside], labels[beside])
    return Choosing(train, [Measured(train, check, classes=classes, seed=seed)], classes)


def score_candidates(
    pool: Pool,
    by: Choosing,
    *,
    per_class: int = 10,
    strings: Sequence[str] | None = None,
    part: str = ALL_TEXTS,
    only: str | None = None,
    seed: int = 0,
) -> TextScores:
    """What every rule and control, or `only` one, says of the texts of one part of the pool."""
    texts, place = pool.vectors[pool.parts[part]], pool.classes[pool.parts[part]]
    scores = score_texts(
        by.measured, texts, place, strings=strings, texts_a_class=per_class, only=only, seed=seed
    )
    images, labels = np.asarray(by.train.features), np.asarray(by.train.labels)
    if only in (None, "neighbourhood"):
        scores["neighbourhood"] = neighbourhood_scores(texts, place, images, labels, by.classes)
    if only in (None, STANDARDISED):
        # The proponent rule with every image of the class weighing the same: what is left of the
        # rule when influence is taken out of it.
        z = standardised(unit_length(images) @ unit_length(texts).T, labels)
        scores[STANDARDISED] = clip_only(z, labels, place)
    return scores


def text_sets(
    pool: Pool, scores: Mapping[str, np.ndarray], rule: str, *, per_class: int = 10, seed: int = 0
) -> dict[str, Float[np.ndarray, " pool"]]:
    """Every set of texts that is compared, by name: weights over the pool."""
    place = pool.classes[pool.texts]
    total = len(pool.classes)

    def spread(part: str, weights: np.ndarray) -> np.ndarray:
        result = np.zeros(total)
        result[pool.parts[part]] = weights
        # A text that the encoder cannot read has no vector, and takes no part.
        result[~pool.vectors.any(1)] = 0
        return result

    sets = {}
    drawn = dict(scores) | {"random": at_random(len(place), seed)}
    chosen = {name: select(own, place, per_class, seed=seed) for name, own in drawn.items()}
    for name in drawn:
        sets[name] = spread(ALL_TEXTS, chosen[name].astype(float))
    for name in dict.fromkeys((rule, "ift-literal", STANDARDISED)):
        weights = loss_weights(drawn[name], place, chosen[name])
        sets[name + WEIGHTED] = spread(ALL_TEXTS, weights)
    sets[rule + NAME_FREE] = spread(ALL_TEXTS + NAME_FREE, chosen[rule].astype(float))
    sets[PERMUTED] = spread(PERMUTED, chosen[rule].astype(float))
    for part in pool.parts:
        if part not in (PERMUTED, SEARCHED, SEARCHED_FREE):
            size = pool.parts[part].stop - pool.parts[part].start
            sets[part] = spread(part, np.ones(size))
    return {name: own for name, own in sets.items() if own.any()}


def searched_sets(
    pool: Pool, rule: str, by: Choosing, *, per_class: int = 10, seed: int = 0
) -> dict[str, Float[np.ndarray, " pool"]]:
    """What the rule chooses where only random words are to be had, as many as there are texts.

    A rule that looks at labelled images finds vectors that fit them among any vectors. What the
    chosen texts achieve beyond these sets is owed to what they say.
    """
    sets = {}
    for part in (SEARCHED, SEARCHED_FREE):
        if not pool.vectors[pool.parts[part]].any():
            continue  # vectors from files: there are none of random words
        scores = score_candidates(pool, by, per_class=per_class, part=part, only=rule, seed=seed)
        if rule in scores:  # the longest random words would be nothing to compare with
            chosen = select(scores[rule], pool.classes[pool.parts[part]], per_class, seed=seed)
            weights = np.zeros(len(pool.classes))
            weights[pool.parts[part]] = chosen
            sets[part] = weights * pool.vectors.any(1)
    return {name: own for name, own in sets.items() if own.any()}


def role_of(method: str) -> str:
    """Whether a row of the tables is a rule, a control, a baseline, or somebody else's texts."""
    if method.startswith(FILE):
        return "file"
    if method in (IMAGES_ONLY, IMAGES_AND_VALIDATION, CLASS_NAMES, ALL_TEXTS, ALL_TEXTS + NAME_FREE):
        return "baseline"
    bare = method.removesuffix(NAME_FREE).removesuffix(WEIGHTED)
    return "rule" if bare in (*RULES, *NETWORK_RULES) else "control"
