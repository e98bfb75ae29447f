"""Which of a class's texts describe it: every rule's score of every text, and what the study's rule chooses.

Rules look at describe and select images and their classes, and at no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from saywell.data.examples import Examples, Kind
from saywell.describers.class_texts.describer import ClassTexts, class_descriptions, usable_texts
from saywell.describers.describer import Evidence
from saywell.description import Description
from saywell.encoders.vectors import unit_length
from saywell.influence.proponents import proponents
from saywell.influence.tracin import Labelled
from saywell.resources import Resources
from saywell.selection.text_influence import (
    PROPONENT_TEXTS,
    TEXT_SCORES,
    Measured,
    clip_only,
    ift_literal,
    ift_proponent,
    measured_inside,
    score_texts,
    select,
    standardised,
)
from saywell.store.study import Study, StudyWriter
from saywell.store.table import Table
from saywell.transfer.text_sets import CONTROL, RULE, TextSet
from saywell.transfer.zero_shot import neighbourhood_scores

LITERAL, PROPONENT = "ift-literal", "ift-proponent"
RULES = (LITERAL, PROPONENT, "ift-opponent", "text-influence", "text-influence-all", "nearest", "stepwise")
CLIP_ONLY, STANDARDISED, NEIGHBOURHOOD = "clip-only", "clip-standardised", "neighbourhood"
CONTROLS = (CLIP_ONLY, STANDARDISED, "influence-only", NEIGHBOURHOOD, "random", "longest")
_PROPONENTS = 100

TextScores = dict[TextSet, Float[np.ndarray, " texts"]]


def chosen_by(rule: str, *, network: bool = False) -> TextSet:
    """What a rule or control chooses; `network`: by influence in a network trained from pixels."""
    return TextSet(rule, RULE if rule in RULES else CONTROL, network)


@dataclass(frozen=True)
class Choice:
    """By which rule how many texts of a class are chosen; equal scores are ordered by `seed`."""

    rule: str = PROPONENT
    per_class: int = PROPONENT_TEXTS
    seed: int = 0

    def best(
        self,
        scores: Float[np.ndarray, " texts"],
        text_class: Int[np.ndarray, " texts"],
        same: Int[np.ndarray, " texts"] | None = None,
    ) -> Bool[np.ndarray, " texts"]:
        """Which texts are chosen by these scores: the best, without those that say the same as a better one.

        `same` numbers what is said. Nothing comes in for what is dropped: it would be worse than all others.
        """
        chosen = select(scores, text_class, self.per_class, seed=self.seed)
        if same is not None:
            rows = np.flatnonzero(chosen)
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            chosen[rows] = False
            chosen[rows[np.unique(same[rows], return_index=True)[1]]] = True
        return chosen


@dataclass(frozen=True)
class Choosing:
    """The labelled images that rules choose by.

    They are `train`, measured against others where there are any, else inside `train` by cross-validation.
    What images alone say is computed once, whatever texts are scored.
    """

    train: Labelled
    measured: Sequence[Measured]
    classes: int

    @staticmethod
    def of(train: Labelled, beside: Labelled, classes: int, seed: int) -> Choosing:
        """Images to learn from, and images `beside` them, if any, to check with."""
        if not len(beside.labels):
            return Choosing(train, measured_inside(train, classes=classes, seed=seed), classes)
        return Choosing(train, [Measured(train, beside, classes=classes, seed=seed)], classes)


@dataclass(frozen=True)
class LabelledImages:
    """Describe and select images with their classes; `names` are all classes."""

    describe: Examples
    select: Examples
    names: Sequence[str]
    resources: Resources

    @cached_property
    def train(self) -> Labelled:
        """The describe images as vectors, with the places of their classes."""
        return labelled(self.describe, self.names, self.resources)

    @cached_property
    def choosing(self) -> Choosing:
        """What rules choose by, made when first asked for."""
        beside = labelled(self.select, self.names, self.resources)
        return Choosing.of(self.train, beside, len(self.names), self.resources.seed)


def labelled(images: Examples, names: Sequence[str], resources: Resources) -> Labelled:
    """Images as vectors, with the places of their classes among `names`."""
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[name] for name in images.table["label"]], dtype=np.int64)
    return Labelled(resources.vectors(images), labels)


@dataclass(frozen=True)
class ChosenTexts:
    """A describer of classes: of the usable texts those that the rule of `choice` puts first.

    `network` gives the influence of each describe image on those of its class in a network trained from
    pixels, so that the rules that go by influence are also there with that one.
    """

    texts: ClassTexts
    choice: Choice
    images: LabelledImages
    network: Callable[[StudyWriter], Float[np.ndarray, " train"]] | None = None
    version: int = 1
    kinds: Sequence[Kind] = ("image",)
    needs_tags: bool = False

    @property
    def name(self) -> str:
        """As of those who write the texts."""
        return self.texts.name

    @property
    def tables(self) -> Sequence[Table]:
        """Theirs, and what the rules say."""
        return (*self.texts.tables, TEXT_SCORES)

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """As in `Describer`."""
        names = evidence.ids
        self.texts.write(evidence, resources, study)
        influence = None if self.network is None else self.network(study)
        table, text_class = usable_texts(study, names)

        def make() -> pl.DataFrame:
            vectors = resources.encode(evidence.examples, table["text"].to_list())
            scores = candidate_scores(
                vectors, text_class, self.images.choosing, self.choice, strings=table["text"].to_list()
            )
            if influence is not None:
                scores |= network_scores(influence, self.images.train, vectors, text_class, len(names))
            return text_score_table(table, text_class, scores, self.choice)

        with resources.progress("text scores", 1):
            scored = study.table(TEXT_SCORES, make)
        chosen = scored.filter(rule=self.choice.rule, network=False, chosen=True).sort("class", "rank")
        best = chosen.select(id="text").join(table, on="id", maintain_order="left")
        return class_descriptions(names, best, "no description: it has no usable text")


def candidate_scores(
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    by: Choosing,
    choice: Choice,
    *,
    strings: Sequence[str] | None = None,
    only: str | None = None,
) -> TextScores:
    """What every rule and control, or `only` one, says of the texts (higher is better; NaN: nothing).

    `choice` says how many are chosen together, and its seed draws. Without `strings` there is no "longest".
    """
    found = score_texts(
        by.measured,
        texts,
        text_class,
        strings=strings,
        texts_a_class=choice.per_class,
        only=only,
        seed=choice.seed,
    )
    scores = {chosen_by(rule): own for rule, own in found.items()}
    images, labels = np.asarray(by.train.features), np.asarray(by.train.labels)
    if only in (None, NEIGHBOURHOOD):
        near = neighbourhood_scores(texts, text_class, images, labels, by.classes)
        scores[chosen_by(NEIGHBOURHOOD)] = near
    if only in (None, STANDARDISED):
        # The proponent rule with every image of the class weighing the same: what is left of the
        # rule when influence is taken out of it.
        z = standardised(unit_length(images) @ unit_length(texts).T, labels)
        scores[chosen_by(STANDARDISED)] = clip_only(z, labels, text_class)
    return scores


def network_scores(
    influence: Float[np.ndarray, " train"],
    train: Labelled,
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
) -> TextScores:
    """The two rules of IFT with the influence of a network instead of that of a linear head."""
    labels = np.asarray(train.labels)
    helping = proponents(influence, labels, classes, _PROPONENTS)
    similarity = unit_length(np.asarray(train.features)) @ unit_length(texts).T
    return {
        chosen_by(LITERAL, network=True): ift_literal(similarity, helping, text_class),
        chosen_by(PROPONENT, network=True): ift_proponent(similarity, labels, helping, text_class),
    }


def text_score_table(
    table: pl.DataFrame, text_class: Int[np.ndarray, " texts"], scores: TextScores, choice: Choice
) -> pl.DataFrame:
    """Table `text_scores`: each rule's score of each text, its rank in its class, whether it is chosen."""
    frames = [TEXT_SCORES.empty()]
    for texts, own in scores.items():
        known = pl.Series(own).cast(pl.Float64).fill_nan(None)
        frames.append(
            table.select(
                text="id",
                **{"class": pl.col("class")},
                rule=pl.lit(texts.method),
                network=pl.lit(texts.network),
                score=known,
                rank=known.rank("ordinal", descending=True).cast(pl.Int32),
                chosen=pl.Series(choice.best(own, text_class, what_is_said(table))),
            ).with_columns(rank=pl.col("rank").rank("ordinal").over("class").cast(pl.Int32))
        )
    return pl.concat(frames)


def what_is_said(table: pl.DataFrame) -> Int[np.ndarray, " texts"]:
    """Of each usable text the number of what it says: that of the first that says the same."""
    if "same_as" not in table.columns:
        return np.arange(table.height)
    first = table.select(pl.coalesce("same_as", "id"))["same_as"]
    return first.rank("dense").cast(pl.Int64).to_numpy()


def stored_scores(study: Study) -> TextScores:
    """Table `text_scores` as one array a rule, in the order of the usable texts; NaN: no score."""
    by_rule = study.table(TEXT_SCORES).group_by("rule", "network", maintain_order=True)
    return {
        chosen_by(str(rule), network=bool(network)): own["score"].fill_null(float("nan")).to_numpy()
        for (rule, network), own in by_rule
    }
