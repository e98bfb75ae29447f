"""Who finds descriptors and says which example carries which: steps 1 to 3, in one of four ways.

    GoldTags        the user's own tags
    LLMTags         an LLM finds descriptors and tags
    ExtractiveTags  phrases typical of topics, merged; said, or nearly said
    PhraseTags      a list of phrases, near by an encoder; also of pictures

One that looks for descriptors and finds fewer than two leaves none, since one alone tells nothing apart:
describers then have nothing to say. `need_descriptors` refuses where that is no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.examples import Examples
from saywell.data.tags import Tags
from saywell.describers.descriptors.asking import (
    FIND,
    TAG,
    ask_candidates,
    ask_tags,
    expect_tags,
    tag_requests,
)
from saywell.describers.descriptors.candidates import extract_candidates
from saywell.describers.descriptors.merging import Merged, descriptor_id, gold_descriptors, merge_candidates
from saywell.describers.descriptors.nearness import holding
from saywell.describers.descriptors.tables import CANDIDATES, DESCRIPTORS, TAGS, stored_tags
from saywell.describers.descriptors.tagging import drop_incoherent, tag_sentences
from saywell.errors import InputError
from saywell.language_models import DryRun
from saywell.language_models.providers import EXTRACTIVE
from saywell.store.table import UNANSWERED, Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


def sharing(tagger: object) -> frozenset[str]:
    """Readers that share their model with units of the encoder itself: it reads, or has found the tags."""
    encoders = frozenset(["sentence-encoder", "dual-encoder"])
    return encoders | {"tags"} if isinstance(tagger, ExtractiveTags | PhraseTags) else encoders


@dataclass(frozen=True)
class GoldTags:
    """The tags in column `tags` of the examples, each a descriptor of its own."""

    name: str = "gold tags"
    tables: Sequence[Table] = (DESCRIPTORS, TAGS)

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with the tags that they came with."""
        given = examples.table["tags"].to_list()
        study.table(DESCRIPTORS, lambda: gold_descriptors(given))
        study.table(TAGS, lambda: _all_answered(study, gold_tags(examples.ids, given)))
        return examples.with_tags(replace(stored_tags(study, examples.ids), tagger=self.name))


@dataclass(frozen=True)
class LLMTags:
    """What an LLM finds in describe texts, merged, and of which texts it says that they carry it."""

    name: str = "llm descriptors"
    tables: Sequence[Table] = (CANDIDATES, DESCRIPTORS, TAGS)

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with what the LLM said; those without an answer are not known.

        Raises InputError without a language model, and where more than half got no answer.
        """
        llm = resources.need_llm(f"the tagger {self.name!r}")
        find, tag = resources.prompt(FIND), resources.prompt(TAG)
        describe = examples.only(examples.parts.describe)

        def candidates() -> pl.DataFrame:
            with resources.progress("candidate descriptors", len(describe)) as advance:
                answers = ask_candidates(llm, _by_id(describe), find, seed=resources.seed, progress=advance)
            _need_answers(answers.unanswered, len(describe), "candidate descriptors")
            study.unanswered("candidates", answers.unanswered)
            return answers.table

        def tags() -> pl.DataFrame:
            descriptors = study.table(DESCRIPTORS)
            total = len(examples) * tag_requests(1, descriptors.height)
            with resources.progress("tags", total) as advance:
                answers = ask_tags(
                    llm, _by_id(examples), descriptors, tag, seed=resources.seed, progress=advance
                )
            _need_answers(answers.unanswered, len(examples), "tags")
            study.unanswered("tags", answers.unanswered)
            return answers.table

        study.table(CANDIDATES, candidates)
        study.table(DESCRIPTORS, lambda: _enough(_merged(resources, study).table))
        study.table(TAGS, tags)
        found = stored_tags(study, examples.ids)
        by = {"tagger": self.name, "llm": llm.name, "prompt_hash": f"{find.hash},{tag.hash}"}
        return examples.with_tags(replace(found, **by))

    def expect(self, llm: DryRun, examples: Examples, resources: Resources) -> None:
        """Count what `tag` would ask; the descriptors, which only replies can tell, are made up."""
        describe = examples.only(examples.parts.describe)
        ask_candidates(llm, _by_id(describe), resources.prompt(FIND), seed=resources.seed)
        expect_tags(llm, _by_id(examples), resources.prompt(TAG), seed=resources.seed)


@dataclass(frozen=True)
class ExtractiveTags:
    """Phrases typical of describe texts, merged; carried by texts that say them, or nearly."""

    name: str = EXTRACTIVE
    tables: Sequence[Table] = (CANDIDATES, DESCRIPTORS, TAGS)

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with the descriptors that were found in the describe texts among them."""
        vectors = resources.vectors(examples)
        known = examples.parts.describe.rows
        describe = examples.only(examples.parts.describe)

        def descriptors() -> pl.DataFrame:
            merged = _merged(resources, study).table
            kept = _enough(drop_incoherent(merged, vectors[known], describe.texts))
            if merged.height and not kept.height:
                study.note(f"Of {merged.height} descriptors fewer than two hold of texts that are alike.")
            return kept

        def tags() -> pl.DataFrame:
            there = np.zeros(len(examples), dtype=bool)
            there[known] = True
            found = study.table(DESCRIPTORS)
            return tag_sentences(examples.ids, examples.texts, vectors, found, there)

        study.table(
            CANDIDATES,
            lambda: extract_candidates(describe.ids, describe.texts, vectors[known], seed=resources.seed),
        )
        study.table(DESCRIPTORS, descriptors)
        study.table(TAGS, lambda: _all_answered(study, tags()))
        return examples.with_tags(replace(stored_tags(study, examples.ids), tagger=self.name))


@dataclass(frozen=True)
class PhraseTags:
    """Phrases from a list; carried by the examples, pictures as well as texts, that are near to them."""

    phrases: Sequence[str]
    name: str = "phrases"
    tables: Sequence[Table] = (DESCRIPTORS, TAGS)

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with the phrases that hold of them; see `nearness`."""
        phrases = list(dict.fromkeys(self.phrases))
        vectors = resources.vectors(examples)

        def made() -> tuple[pl.DataFrame, pl.DataFrame]:
            said, known = resources.encode(examples, phrases), examples.parts.describe.rows
            descriptors, tags = phrase_tags(examples.ids, phrases, vectors, said, known)
            return descriptors, _all_answered(study, tags)

        study.tables((DESCRIPTORS, TAGS), made)
        return examples.with_tags(replace(stored_tags(study, examples.ids), tagger=self.name))


def need_descriptors(tags: Tags, examples: Examples) -> None:
    """Raise InputError where a tagger found nothing to describe with."""
    if not tags.ids:
        more = "more of them, an LLM (--llm) or tags of your own (--tags COLUMN)"
        raise InputError(
            f"no two descriptors were found among the {len(examples)} {examples.kind}s; give "
            + (more if examples.kind != "image" else "phrases to describe them with")
        )


def gold_tags(ids: Sequence[str], given: Sequence[Sequence[str] | None]) -> pl.DataFrame:
    """Table `tags` of tags that the user brought."""
    pairs = {(id, descriptor_id(name)) for id, names in zip(ids, given, strict=True) for name in names or ()}
    return TAGS.frame([(id, descriptor, "gold", 1.0) for id, descriptor in sorted(pairs)])


def phrase_tags(
    ids: Sequence[str],
    phrases: Sequence[str],
    vectors: Float[np.ndarray, "examples dim"],
    said: Float[np.ndarray, "phrases dim"],
    known: np.ndarray,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `descriptors` and `tags` of phrases, whose vectors are `said`; the score is the nearness.

    `known` are the places of the describe examples; a phrase is mentioned by those it holds of.
    """
    matrix = holding(vectors, said, known)
    mentions = np.diff(matrix[known].tocsc().indptr)
    names = [descriptor_id(phrase) for phrase in phrases]
    descriptors = DESCRIPTORS.frame(
        [
            (name, phrase, [phrase], int(count))
            for name, phrase, count in zip(names, phrases, mentions, strict=True)
        ]
    )
    tags = pl.DataFrame(
        {
            "example": np.asarray(ids, dtype=object)[np.repeat(np.arange(len(ids)), np.diff(matrix.indptr))],
            "descriptor": np.asarray(names, dtype=object)[matrix.indices],
            "source": pl.repeat("encoder", matrix.nnz, eager=True),
            "score": matrix.data,
        },
        schema=dict(TAGS.columns),
    )
    return descriptors, tags.sort("example", "descriptor")


def _merged(resources: Resources, study: StudyWriter) -> Merged:
    """Table `candidates` merged, with a note on how; to be called while a step is made."""
    candidates = study.table(CANDIDATES)
    merged = merge_candidates(candidates, resources.sentence_encoder, seed=resources.seed)
    if merged.table.height < 2:
        distinct = candidates["text"].n_unique()
        study.note(f"Too few of the {distinct} candidate descriptors are in several texts to describe with.")
    else:
        study.note(
            f"Wordings were merged at cosine {merged.threshold}; leaving out a fifth of them leaves"
            f" {merged.stability[merged.threshold]:.0%} of the merged pairs together."
        )
    return merged


def _enough(descriptors: pl.DataFrame) -> pl.DataFrame:
    return descriptors if descriptors.height >= 2 else descriptors.clear()


def _all_answered(study: StudyWriter, tags: pl.DataFrame) -> pl.DataFrame:
    study.unanswered("tags", UNANSWERED.empty())
    return tags


def _need_answers(unanswered: pl.DataFrame, asked: int, step: str) -> None:
    if 2 * unanswered.height > asked:
        common = unanswered["reason"].mode().sort()[0]
        raise InputError(
            f"{unanswered.height} of {asked} sentences got no {step} from the LLM, most often with:"
            f" {common}; mend that and run the same command again (answers that came are kept)"
        )


def _by_id(examples: Examples) -> dict[str, str]:
    return dict(zip(examples.ids, examples.texts, strict=True))
