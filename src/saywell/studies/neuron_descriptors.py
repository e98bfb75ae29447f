"""Steps 1 to 3 of the neuron study: descriptors of the corpus, and which sentence carries which.

There are three ways, all through the same tables: gold tags, an LLM, and the extractive describer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.describers.descriptors.asking import FIND, TAG, ask_candidates, ask_tags, tag_requests
from saywell.describers.descriptors.candidates import extract_candidates
from saywell.describers.descriptors.merging import gold_descriptors, merge_candidates
from saywell.describers.descriptors.tagging import drop_incoherent, tag_sentences
from saywell.encoders.sentence import SentenceEncoder, encode_in_chunks
from saywell.errors import InputError
from saywell.language_models import LanguageModel, load_prompt
from saywell.progress import Progress
from saywell.store.files import read_array, write_arrays
from saywell.store.schemas import empty_table
from saywell.store.study import Study, StudyWriter
from saywell.studies.neuron_subject import Tags

_VECTORS = "arrays/embeddings.safetensors"


def sentence_vectors(
    study: StudyWriter, examples: pl.DataFrame, encoder: SentenceEncoder | None, progress: Progress
) -> np.ndarray | None:
    """Sentence vectors, which find and tag descriptors and read descriptions; none with gold tags."""
    if encoder is None:
        return None

    def encode() -> None:
        import torch

        with progress("sentence vectors", examples.height) as advance:
            vectors = encode_in_chunks(encoder, examples["text"].to_list(), progress=advance)
        write_arrays(study.path / _VECTORS, {"sentences": torch.from_numpy(vectors)})

    study.step("embeddings", encode, files=(_VECTORS,), uses=("examples",))
    return stored_vectors(study)


def stored_vectors(study: Study) -> np.ndarray | None:
    """What `sentence_vectors` left, or None where it had nothing to do."""
    return read_array(study.file(_VECTORS), "sentences") if study.has(_VECTORS) else None


def find_descriptors_and_tags(
    study: StudyWriter,
    examples: pl.DataFrame,
    embeddings: np.ndarray | None,
    encoder: SentenceEncoder | None,
    llm: LanguageModel | None,
    prompts: Path | None,
    seed: int,
    progress: Progress,
) -> None:
    """Steps 1 to 3, in one of three ways: gold tags, an LLM, or the extractive describer."""
    calibration = examples.filter(split="calibration")
    if encoder is None:
        study.table("descriptors", lambda: gold_descriptors(examples["tags"].to_list()))
        study.table("tags", lambda: _all_answered(study, _gold_tags(study, examples)))
        return
    if llm is not None:
        find, tag = load_prompt(FIND, prompts), load_prompt(TAG, prompts)

        def candidates() -> pl.DataFrame:
            with progress("candidate descriptors", calibration.height) as advance:
                answers = ask_candidates(llm, by_id(calibration), find, seed=seed, progress=advance)
            _need_answers(answers.unanswered, calibration.height, "candidate descriptors")
            study.unanswered("candidates", answers.unanswered)
            return answers.table

        def tagged() -> pl.DataFrame:
            descriptors = study.table("descriptors")
            total = examples.height * tag_requests(1, descriptors.height)
            with progress("tags", total) as advance:
                answers = ask_tags(llm, by_id(examples), descriptors, tag, seed=seed, progress=advance)
            _need_answers(answers.unanswered, examples.height, "tags")
            study.unanswered("tags", answers.unanswered)
            return answers.table

        study.table("candidates", candidates)
        study.table("descriptors", lambda: _merged(study, encoder, seed))
        study.table("tags", tagged)
        return
    assert embeddings is not None
    known = (examples["split"] == "calibration").to_numpy()
    vectors = embeddings[known]
    study.table(
        "candidates",
        lambda: extract_candidates(
            calibration["id"].to_list(), calibration["text"].to_list(), vectors, seed=seed
        ),
    )
    study.table(
        "descriptors", lambda: _extracted(study, encoder, vectors, calibration["text"].to_list(), seed)
    )
    study.table(
        "tags",
        lambda: _all_answered(
            study,
            tag_sentences(
                examples["id"].to_list(),
                examples["text"].to_list(),
                embeddings,
                study.table("descriptors"),
                known,
            ),
        ),
    )


def _all_answered(study: StudyWriter, tags: pl.DataFrame) -> pl.DataFrame:
    study.unanswered("tags", empty_table("unanswered"))
    return tags


def _merged(study: StudyWriter, encoder: SentenceEncoder, seed: int) -> pl.DataFrame:
    merged = merge_candidates(
        study.table("candidates"),
        encoder,
        seed=seed,
        sentences=study.examples.filter(split="calibration").height,
    )
    study.note(
        f"Wordings were merged at cosine {merged.threshold}; leaving out a fifth of them leaves"
        f" {merged.stability[merged.threshold]:.0%} of the merged pairs together."
    )
    return merged.table


def _extracted(
    study: StudyWriter, encoder: SentenceEncoder, vectors: np.ndarray, texts: list[str], seed: int
) -> pl.DataFrame:
    merged = _merged(study, encoder, seed)
    kept = drop_incoherent(merged, vectors, texts)
    if kept.height < 2:
        raise InputError(
            f"of {merged.height} descriptors that the extractive describer found only {kept.height}"
            " hold of sentences that are alike; give more sentences, an LLM (--llm) or tags of your"
            " own (--tags COLUMN)"
        )
    return kept


def _need_answers(unanswered: pl.DataFrame, asked: int, step: str) -> None:
    if 2 * unanswered.height > asked:
        common = unanswered["reason"].mode().sort()[0]
        raise InputError(
            f"{unanswered.height} of {asked} sentences got no {step} from the LLM, most often with:"
            f" {common}; mend that and run the same command again (answers that came are kept)"
        )


def _gold_tags(study: StudyWriter, examples: pl.DataFrame) -> pl.DataFrame:
    names = study.table("descriptors").select(descriptor="id", tags="text")
    tagged = examples.select(example="id", tags=pl.col("tags").list.unique()).explode("tags")
    return (
        tagged.drop_nulls()
        .join(names, on="tags")
        .select("example", "descriptor", source=pl.lit("gold"), score=pl.lit(1.0))
        .sort("example", "descriptor")
    )


def by_id(examples: pl.DataFrame) -> dict[str, str]:
    """Texts by their ids."""
    return dict(examples.select("id", "text").iter_rows())


def tag_matrix(study: Study, sources: Sequence[str] | None = None) -> Tags:
    """Table `tags` as a matrix, of all sources or some."""
    tags, examples = study.table("tags"), study.examples
    if sources is not None:
        tags = tags.filter(pl.col("source").is_in(list(sources)))
    row = {example: number for number, example in enumerate(examples["id"])}
    column = {name: number for number, name in enumerate(study.table("descriptors")["id"])}
    rows = [row[example] for example in tags["example"]]
    columns = [column[name] for name in tags["descriptor"]]
    ones = np.ones(len(rows), dtype=np.float64)
    known = np.ones(len(row), dtype=bool)
    lost = study.table("unanswered").filter(step="tags")["item"]
    known[[row[example] for example in lost]] = False
    matrix = sp.csr_matrix((ones, (rows, columns)), shape=(len(row), len(column)))
    return Tags(matrix, known, examples["tokens"].to_numpy())
