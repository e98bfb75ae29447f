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
from saywell.transfer.cross_modal import loss_weights
from saywell.transfer.text_sets import BASELINE, CONTROL, FILE, RULE, TextSet
from saywell.transfer.zero_shot import (
    mask_names,
    name_texts,
    neighbourhood_scores,
    permute_classes,
    random_texts,
)

LITERAL, PROPONENT = "ift-literal", "ift-proponent"
RULES = (LITERAL, PROPONENT, "ift-opponent", "text-influence", "text-influence-all", "nearest", "stepwise")
CLIP_ONLY, STANDARDISED = "clip-only", "clip-standardised"
CONTROLS = (CLIP_ONLY, STANDARDISED, "influence-only", "neighbourhood", "random", "longest")
CLASS_NAMES, ALL_TEXTS = TextSet("class names", BASELINE), TextSet("all texts", BASELINE)
PERMUTED, RANDOM_WORDS = TextSet("classes permuted", CONTROL), TextSet("random words", CONTROL)
SEARCHED = RANDOM_WORDS._replace(searched=True)

TextScores = dict[TextSet, Float[np.ndarray, " texts"]]


def name_free(texts: TextSet) -> TextSet:
    """The same with class names masked."""
    return texts._replace(name_free=True)


def weighted(texts: TextSet) -> TextSet:
    """The same, each text weighing as its score says."""
    return texts._replace(weighted=True)


def chosen_by(rule: str, *, network: bool = False) -> TextSet:
    """What a rule or control chooses; `network`: by influence in a network trained from pixels."""
    return TextSet(rule, RULE if rule in RULES else CONTROL, network)


@dataclass(frozen=True)
class Pool:
    """Every text that any set may hold, with its class; `parts` says where each kind stands."""

    vectors: Float[np.ndarray, "pool dim"]
    centred: Float[np.ndarray, "pool dim"]
    """Each kind without its own mean, so that what else is in the pool changes nothing."""
    classes: Int[np.ndarray, " pool"]
    parts: Mapping[TextSet, slice]
    lost: Mapping[TextSet, int] = field(default_factory=dict)
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
    kinds: dict[TextSet, tuple[Sequence[str], np.ndarray]] = {
        ALL_TEXTS: (strings, text_class),
        name_free(ALL_TEXTS): (mask_names(strings, names, instead), text_class),
        PERMUTED: (strings, permute_classes(text_class, len(names), seed)),
        CLASS_NAMES: name_texts(names),
        RANDOM_WORDS: random_texts(names, per_class, words=words, seed=seed),
        name_free(RANDOM_WORDS): random_texts(names, per_class, words=words, seed=seed, with_name=False),
        # As many as there are texts to choose from, for the rule to choose from these.
        SEARCHED: random_texts(names, amounts, words=words, seed=seed),
        name_free(SEARCHED): random_texts(names, amounts, words=words, seed=seed, with_name=False),
    }
    if isinstance(encoder, Precomputed):
        plain = name_texts(names, ("{}", "a {}", "a photo of a {}.", "a photo of a {}"))
        kinds[CLASS_NAMES] = plain
    for name, (texts, place) in files.items():
        kinds[TextSet(name, FILE)] = (texts, place)
        kinds[name_free(TextSet(name, FILE))] = (mask_names(texts, names, instead), place)
    vectors, shifted, classes, parts = [], [], [], {}
    lost: dict[TextSet, int] = {}
    at = 0
    for kind, (texts, place) in kinds.items():
        # Sets that mirror the texts keep their rows; a text that cannot be read there is a zero.
        kept = np.array(_readable(encoder, texts), dtype=bool)
        if not kept.all():
            lost[kind] = int((~kept).sum())
        if kind not in (ALL_TEXTS, name_free(ALL_TEXTS), PERMUTED):
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
    part: TextSet = ALL_TEXTS,
    only: str | None = None,
    seed: int = 0,
) -> TextScores:
    """What every rule and control, or `only` one, says of the texts of one part of the pool."""
    texts, place = pool.vectors[pool.parts[part]], pool.classes[pool.parts[part]]
    found = score_texts(
        by.measured, texts, place, strings=strings, texts_a_class=per_class, only=only, seed=seed
    )
    scores = {chosen_by(rule): own for rule, own in found.items()}
    images, labels = np.asarray(by.train.features), np.asarray(by.train.labels)
    if only in (None, "neighbourhood"):
        scores[chosen_by("neighbourhood")] = neighbourhood_scores(texts, place, images, labels, by.classes)
    if only in (None, STANDARDISED):
        # The proponent rule with every image of the class weighing the same: what is left of the
        # rule when influence is taken out of it.
        z = standardised(unit_length(images) @ unit_length(texts).T, labels)
        scores[chosen_by(STANDARDISED)] = clip_only(z, labels, place)
    return scores


def text_sets(
    pool: Pool, scores: Mapping[TextSet, np.ndarray], rule: str, *, per_class: int = 10, seed: int = 0
) -> dict[TextSet, Float[np.ndarray, " pool"]]:
    """Every set of texts that is compared: weights over the pool."""
    place = pool.classes[pool.texts]
    total = len(pool.classes)

    def spread(part: TextSet, weights: np.ndarray) -> np.ndarray:
        result = np.zeros(total)
        result[pool.parts[part]] = weights
        # A text that the encoder cannot read has no vector, and takes no part.
        result[~pool.vectors.any(1)] = 0
        return result

    sets = {}
    drawn = dict(scores) | {chosen_by("random"): at_random(len(place), seed)}
    chosen = {texts: select(own, place, per_class, seed=seed) for texts, own in drawn.items()}
    for texts in drawn:
        sets[texts] = spread(ALL_TEXTS, chosen[texts].astype(float))
    own = chosen_by(rule)
    for texts in dict.fromkeys((own, chosen_by(LITERAL), chosen_by(STANDARDISED))):
        weights = loss_weights(drawn[texts], place, chosen[texts])
        sets[weighted(texts)] = spread(ALL_TEXTS, weights)
    sets[name_free(own)] = spread(name_free(ALL_TEXTS), chosen[own].astype(float))
    sets[PERMUTED] = spread(PERMUTED, chosen[own].astype(float))
    for part in pool.parts:
        if part != PERMUTED and not part.searched:
            size = pool.parts[part].stop - pool.parts[part].start
            sets[part] = spread(part, np.ones(size))
    return {texts: weights for texts, weights in sets.items() if weights.any()}


def searched_sets(
    pool: Pool, rule: str, by: Choosing, *, per_class: int = 10, seed: int = 0
) -> dict[TextSet, Float[np.ndarray, " pool"]]:
    """What the rule chooses where only random words are to be had, as many as there are texts.

    A rule that looks at labelled images finds vectors that fit them among any vectors. What the
    chosen texts achieve beyond these sets is owed to what they say.
    """
    sets = {}
    for part in (SEARCHED, name_free(SEARCHED)):
        if not pool.vectors[pool.parts[part]].any():
            continue  # vectors from files: there are none of random words
        scores = score_candidates(pool, by, per_class=per_class, part=part, only=rule, seed=seed)
        own = scores.get(chosen_by(rule))
        if own is not None:  # the longest random words would be nothing to compare with
            chosen = select(own, pool.classes[pool.parts[part]], per_class, seed=seed)
            weights = np.zeros(len(pool.classes))
            weights[pool.parts[part]] = chosen
            sets[part] = weights * pool.vectors.any(1)
    return {texts: weights for texts, weights in sets.items() if weights.any()}
