"""The sets of texts that a study of classes compares: chosen by rules, by controls, and by others.

All sets are rows of one pool of embedded texts; a set is a weight for every row, 0 where the text
is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.data.examples import Examples
from saywell.data.words import chunk_spans
from saywell.describers.class_texts.class_describer import fit_texts
from saywell.describers.class_texts.describer import usable_texts
from saywell.encoders.precomputed import Precomputed
from saywell.resources import Resources
from saywell.selection.of_texts import (
    LITERAL,
    STANDARDISED,
    Choice,
    Choosing,
    LabelledImages,
    TextScores,
    candidate_scores,
    chosen_by,
    labelled,
    stored_scores,
    what_is_said,
)
from saywell.selection.text_influence import at_random
from saywell.studies.spine import Run
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.cross_modal import loss_weights
from saywell.transfer.text_sets import BASELINE, CONTROL, FILE, TextSet
from saywell.transfer.zero_shot import TEMPLATES, mask_names, name_texts, permute_classes, random_texts

CLASS_NAMES, ALL_TEXTS = TextSet("class names", BASELINE), TextSet("all texts", BASELINE)
PERMUTED, RANDOM_WORDS = TextSet("classes permuted", CONTROL), TextSet("random words", CONTROL)
SEARCHED = RANDOM_WORDS._replace(searched=True)
PLAIN_NAMES = ("{}", "a {}", "a photo of a {}.", "a photo of a {}")
"""What files of vectors may have of a class name, instead of all of TEMPLATES."""

Texts = tuple[Sequence[str], Int[np.ndarray, " texts"]]
"""Texts, and the place of the class of each."""
Sets = Mapping[TextSet, Float[np.ndarray, " pool"]]
"""Text sets: weights over the pool."""


def name_free(texts: TextSet) -> TextSet:
    """The same with class names masked."""
    return texts._replace(name_free=True)


def weighted(texts: TextSet) -> TextSet:
    """The same, each text weighing as its score says."""
    return texts._replace(weighted=True)


def templates(resources: Resources) -> tuple[str, ...]:
    """What stands around a class name where nothing else is said of a class."""
    return PLAIN_NAMES if isinstance(resources.dual_encoder, Precomputed) else TEMPLATES


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
    same: Int[np.ndarray, " texts"] | None = None
    """Numbers what the texts that rules choose from say; see `Choice.best`."""

    @property
    def texts(self) -> slice:
        """The texts that rules choose from."""
        return self.parts[ALL_TEXTS]


@dataclass
class Compared:
    """What a study compares: the choice of its rule with controls and with the texts of `files`.

    `superclass` is what all classes are: what stands in a text where its class's name is masked.
    """

    images: LabelledImages
    choice: Choice
    files: Mapping[str, Texts] = field(default_factory=dict)
    superclass: str = ""
    _space: Space | None = None

    def space(self, run: Run) -> Space:
        """What the extras of a run share, each part of it made when the first of them asks."""
        if self._space is None or self._space.run.study is not run.study:
            self._space = Space(run, self)
        return self._space


@dataclass(frozen=True)
class Space:
    """Images and texts of a run as vectors."""

    run: Run
    compared: Compared

    @property
    def names(self) -> Sequence[str]:
        """Of all classes."""
        return self.compared.images.names

    @property
    def by(self) -> Choosing:
        """The images that texts are chosen by."""
        return self.compared.images.choosing

    @cached_property
    def rows(self) -> Mapping[str, Int[np.ndarray, " part"]]:
        """Which images are in each part."""
        return {name: part.rows for name, part in self.run.examples.parts._asdict().items()}

    @cached_property
    def vectors(self) -> Float[np.ndarray, "images dim"]:
        """Of all images."""
        return self.run.resources.vectors(self.run.examples)

    @cached_property
    def labels(self) -> Int[np.ndarray, " images"]:
        """The place of each image's class."""
        return np.asarray(labelled(self.run.examples, self.names, self.run.resources).labels)

    @cached_property
    def usable(self) -> tuple[pl.DataFrame, Int[np.ndarray, " texts"]]:
        """The texts that can be chosen, and the place of the class of each."""
        return usable_texts(self.run.study, self.names)

    @cached_property
    def scores(self) -> TextScores:
        """What every rule says of them."""
        return stored_scores(self.run.study)

    @cached_property
    def pool(self) -> Pool:
        """These, the same without class names, and the texts of every control and file, as vectors."""
        table, text_class = self.usable
        made = make_pool((table["text"].to_list(), text_class), self.compared, self.run.examples)
        return replace(made, same=what_is_said(table))


def make_pool(usable: Texts, compared: Compared, examples: Examples) -> Pool:
    """Embed the texts, the same without class names, and those of every control and file.

    `usable` texts are those that the encoder reads whole; of the others, those it does not are left out
    and counted.
    """
    strings, text_class = usable
    names, resources, choice = compared.images.names, compared.images.resources, compared.choice
    instead, seed = compared.superclass or "object", choice.seed
    words = sorted(
        {
            text[start:end].strip(".,;:()'\"。、").lower()
            for text in strings
            for start, end in chunk_spans(text)
        }
    )
    amounts = np.bincount(text_class, minlength=len(names)).tolist()

    def random(amount: int | list[int], with_name: bool) -> Texts:
        return random_texts(names, amount, words=words, seed=seed, with_name=with_name)

    kinds: dict[TextSet, Texts] = {
        ALL_TEXTS: (strings, text_class),
        name_free(ALL_TEXTS): (mask_names(strings, names, instead), text_class),
        PERMUTED: (strings, permute_classes(text_class, len(names), seed)),
        CLASS_NAMES: name_texts(names, templates(resources)),
        RANDOM_WORDS: random(choice.per_class, True),
        name_free(RANDOM_WORDS): random(choice.per_class, False),
        # As many as there are texts to choose from, for the rule to choose from these.
        SEARCHED: random(amounts, True),
        name_free(SEARCHED): random(amounts, False),
    }
    for name, (given, given_class) in compared.files.items():
        texts, place = _fitted(given, given_class, resources)
        kinds[TextSet(name, FILE)] = (texts, place)
        kinds[name_free(TextSet(name, FILE))] = (mask_names(texts, names, instead), place)
    vectors, shifted, classes, parts = [], [], [], {}
    lost: dict[TextSet, int] = {}
    at = 0
    for kind, (texts, place) in kinds.items():
        # Sets that mirror the texts keep their rows; a text that cannot be read there is a zero.
        kept = resources.reads(examples, texts)
        if not kept.all():
            lost[kind] = int((~kept).sum())
        if kind not in (ALL_TEXTS, name_free(ALL_TEXTS), PERMUTED):
            texts = [text for text, keep in zip(texts, kept, strict=True) if keep]
            place, kept = place[kept], np.ones(len(texts), dtype=bool)
        found = np.zeros((len(texts), resources.dual_encoder.dim), dtype=np.float32)
        found[kept] = resources.encode(
            examples, [text for text, keep in zip(texts, kept, strict=True) if keep]
        )
        moved = np.zeros_like(found)
        if kept.any():
            moved[kept] = centred(found[kept], balanced_mean(found[kept], place[kept]))
        vectors.append(found)
        shifted.append(moved)
        classes.append(place)
        parts[kind] = slice(at, at + len(texts))
        at += len(texts)
    return Pool(np.concatenate(vectors), np.concatenate(shifted), np.concatenate(classes), parts, lost)


def _fitted(texts: Sequence[str], place: Int[np.ndarray, " texts"], resources: Resources) -> Texts:
    """The texts of a file in pieces that the encoder reads whole."""
    fits = fit_texts(texts, resources.dual_encoder)
    pieces = [(piece, c) for fit, c in zip(fits, place, strict=True) for piece in fit.pieces]
    return [piece for piece, _ in pieces], np.array([c for _, c in pieces], dtype=np.int64)


def text_sets(
    pool: Pool, scores: Mapping[TextSet, Float[np.ndarray, " texts"]], choice: Choice, drawn: int
) -> dict[TextSet, Float[np.ndarray, " pool"]]:
    """Every set of texts that is compared: weights over the pool. `drawn` is the seed of random choices."""
    choice = replace(choice, seed=drawn)
    place = pool.classes[pool.texts]
    total = len(pool.classes)

    def spread(part: TextSet, weights: np.ndarray) -> np.ndarray:
        result = np.zeros(total)
        result[pool.parts[part]] = weights
        # A text that the encoder cannot read has no vector, and takes no part.
        result[~pool.vectors.any(1)] = 0
        return result

    sets = {}
    every = dict(scores) | {chosen_by("random"): at_random(len(place), drawn)}
    chosen = {texts: choice.best(own, place, pool.same) for texts, own in every.items()}
    for texts in every:
        sets[texts] = spread(ALL_TEXTS, chosen[texts].astype(float))
    own = chosen_by(choice.rule)
    for texts in dict.fromkeys((own, chosen_by(LITERAL), chosen_by(STANDARDISED))):
        weights = loss_weights(every[texts], place, chosen[texts])
        sets[weighted(texts)] = spread(ALL_TEXTS, weights)
    sets[name_free(own)] = spread(name_free(ALL_TEXTS), chosen[own].astype(float))
    sets[PERMUTED] = spread(PERMUTED, chosen[own].astype(float))
    for part in pool.parts:
        if part != PERMUTED and not part.searched:
            size = pool.parts[part].stop - pool.parts[part].start
            sets[part] = spread(part, np.ones(size))
    return {texts: weights for texts, weights in sets.items() if weights.any()}


def searched_sets(pool: Pool, by: Choosing, choice: Choice) -> dict[TextSet, Float[np.ndarray, " pool"]]:
    """What the rule chooses where only random words are to be had, as many as there are texts.

    A rule that looks at labelled images finds vectors that fit them among any vectors. What the
    chosen texts achieve beyond these sets is owed to what they say.
    """
    sets = {}
    for kind in (SEARCHED, name_free(SEARCHED)):
        part = pool.parts[kind]
        if not pool.vectors[part].any():
            continue  # vectors from files: there are none of random words
        scores = candidate_scores(pool.vectors[part], pool.classes[part], by, choice, only=choice.rule)
        own = scores.get(chosen_by(choice.rule))
        if own is not None:  # the longest random words would be nothing to compare with
            weights = np.zeros(len(pool.classes))
            weights[part] = choice.best(own, pool.classes[part])
            sets[kind] = weights * pool.vectors.any(1)
    return {texts: weights for texts, weights in sets.items() if weights.any()}
