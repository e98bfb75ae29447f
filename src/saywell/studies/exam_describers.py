"""Who sits the exam: describers of every kind behind one signature, and two controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float

from saywell.data.splits import hash_numbers
from saywell.describers.associations import Associations, associate, length_strata
from saywell.describers.descriptors.candidates import extract_candidates
from saywell.describers.descriptors.merging import merge_candidates
from saywell.describers.descriptors.tagging import drop_incoherent, tag_sentences
from saywell.describers.extractive import describe_by_phrases
from saywell.describers.llm import EXEMPLARS, Shown, describe_exemplars
from saywell.describers.phrases import PhraseCounts
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import LanguageModel

COMPOSITION_THRESHOLD = 0.5
MOST_NAMED = 3
STRONGEST = 100
"""Exemplars of a planted unit at most; the groups of a task are shown whole."""


@dataclass(frozen=True)
class Behaviour:
    """How units respond to describe examples; what else a describer sees depends on the examples."""

    ids: Sequence[str]
    """Of the examples, by content."""
    responses: Float[np.ndarray, "units examples"]
    fires: Bool[np.ndarray, "units examples"]
    most_exemplars: int
    seed: int

    @cached_property
    def exemplars(self) -> Bool[np.ndarray, "units examples"]:
        """The strongest examples of each unit among those that it fires on; ties by content."""
        content = hash_numbers(self.ids, self.seed, "exemplars")
        strength = np.where(self.fires, self.responses, -np.inf)
        chosen = np.zeros_like(self.fires)
        for unit, row in enumerate(strength):
            chosen[unit, np.lexsort((content, -row))[: self.most_exemplars]] = True
        return chosen & self.fires


@dataclass(frozen=True)
class Material(Behaviour):
    """All that a describer of texts may see."""

    texts: Sequence[str]
    vectors: Float[np.ndarray, "texts dim"]
    encoder: SentenceEncoder
    llm: LanguageModel | None

    @cached_property
    def tagged(self) -> tuple[Associations, list[str]]:
        """How often the exemplars carry the descriptors of the extractive path, and their wordings."""
        ids = [str(number) for number in range(len(self.texts))]
        candidates = extract_candidates(ids, self.texts, self.vectors, seed=self.seed)
        try:
            merged = merge_candidates(candidates, self.encoder, seed=self.seed).table
            descriptors = drop_incoherent(merged, self.vectors, self.texts)
        except InputError:  # too few candidates to merge: nothing can be said in descriptors
            return _no_associations(len(self.exemplars)), []
        everything = np.ones(len(ids), dtype=bool)
        tags = tag_sentences(ids, self.texts, self.vectors, descriptors, everything)
        column = {name: n for n, name in enumerate(descriptors["id"])}
        matrix = sp.csr_matrix(
            (
                np.ones(tags.height),
                (tags["example"].cast(int).to_numpy(), [column[d] for d in tags["descriptor"]]),
            ),
            shape=(len(ids), len(column)),
        )
        lengths = np.array([len(text.split()) for text in self.texts])
        exemplars = sp.csr_matrix(self.exemplars)
        return associate(exemplars, matrix, length_strata(lengths)), descriptors["text"].to_list()


class Answers(NamedTuple):
    """A description per unit, empty for none, and how many LLM calls they took.

    `lost` says of which units (by place) an LLM gave no answer: reason, call, status.
    """

    texts: list[str]
    calls: int = 0
    lost: Mapping[int, tuple[str, str, str]] = {}


Describer = Callable[[Material], Answers]


def composition(material: Material) -> Answers:
    """The paper's rule: descriptors that at least half of the exemplars carry."""
    found, names = material.tagged
    return Answers(_named(found.composed(COMPOSITION_THRESHOLD), found.composition, names))


def enrichment(material: Material) -> Answers:
    """saywell's rule: descriptors that the exemplars carry more often than chance, by lift."""
    found, names = material.tagged
    return Answers(_named(found.enriched(), found.lift, names))


def extractive(material: Material) -> Answers:
    """Phrases that the exemplars say more often than other texts."""
    named = describe_by_phrases(material.texts, material.exemplars)
    return Answers([", ".join(phrases) for phrases in named])


def by_llm(material: Material) -> Answers:
    """An LLM that is shown exemplars and other texts.

    Raises InputError without one.
    """
    if material.llm is None:
        raise InputError("the describer 'llm' needs a language model; name one: --llm PROVIDER:MODEL")
    written = describe_exemplars(material.llm, _shown(material), seed=material.seed)
    lost = {
        place: (f"{w.status}: {w.reason}", w.call, w.status)
        for place, w in enumerate(written)
        if w.status != "ok"
    }
    return Answers([w.text for w in written], sum(bool(w.call) for w in written), lost)


def random_phrase(material: Material) -> Answers:
    """Control: any phrase of the corpus, for every unit."""
    wordings = PhraseCounts(material.texts, min_sentences=3).wordings or ["nothing"]
    drawn = np.random.default_rng(material.seed).integers(len(wordings), size=len(material.fires))
    return Answers([wordings[n] for n in drawn])


def no_description(material: Behaviour) -> Answers:
    """Control: says nothing of any unit."""
    return Answers([""] * len(material.fires))


LLM = "llm"
DESCRIBERS: Mapping[str, Describer] = {
    "composition": composition,
    "enrichment": enrichment,
    "extractive": extractive,
    LLM: by_llm,
    "random-phrase": random_phrase,
    "none": no_description,
}


def _named(
    chosen: Bool[np.ndarray, "units descriptors"],
    worth: Float[np.ndarray, "units descriptors"],
    names: list[str],
) -> list[str]:
    texts = []
    for unit in range(len(chosen)):
        kept = np.flatnonzero(chosen[unit])
        best = kept[np.argsort(-worth[unit, kept], kind="stable")][:MOST_NAMED]
        texts.append(", ".join(names[n] for n in best))
    return texts


def _shown(material: Material) -> list[Shown]:
    """Per unit its strongest exemplars and as many texts that it does not fire on, by content."""
    shown = []
    for unit, chosen in enumerate(material.exemplars):
        order = hash_numbers(material.ids, material.seed, f"contrast:{unit}")
        strong = np.flatnonzero(chosen)
        strong = strong[np.lexsort((order[strong], -material.responses[unit, strong]))]
        silent = np.flatnonzero(~material.fires[unit])
        silent = silent[np.argsort(order[silent], kind="stable")]
        shown.append(
            Shown(*([material.texts[int(n)] for n in rows[:EXEMPLARS]] for rows in (strong, silent)))
        )
    return shown


def _no_associations(units: int) -> Associations:
    nothing = np.zeros((units, 0))
    return Associations(nothing.astype(np.int32), nothing, nothing, nothing, nothing)
