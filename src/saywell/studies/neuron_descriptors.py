"""Steps 1 to 3 of the neuron study: descriptors of the corpus, and which sentence carries which.

There are three ways, all through the same tables: gold tags, an LLM, and the extractive describer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.describers.descriptors.tables import stored_tags
from saywell.describers.descriptors.taggers import ExtractiveTags, GoldTags, LLMTags, need_descriptors
from saywell.encoders.sentence import SentenceEncoder, encode_in_chunks
from saywell.language_models import LanguageModel
from saywell.progress import Progress
from saywell.resources import Resources
from saywell.store.files import read_array, write_arrays
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
    known = Examples(examples, "text", "", pl.DataFrame(), examples.height)
    resources = Resources(encoder or "minilm", llm=llm, seed=seed, progress=progress, prompts=prompts)
    if embeddings is not None:
        resources.keep(known, embeddings)
    tagger = GoldTags() if encoder is None else ExtractiveTags() if llm is None else LLMTags()
    tags = tagger.tag(known, resources, study).tags
    assert tags is not None
    need_descriptors(tags, known)


def by_id(examples: pl.DataFrame) -> dict[str, str]:
    """Texts by their ids."""
    return dict(examples.select("id", "text").iter_rows())


def tag_matrix(study: Study, sources: Sequence[str] | None = None) -> Tags:
    """Table `tags` as a matrix, of all sources or some."""
    examples = study.examples
    found = stored_tags(study, examples["id"].to_list(), sources)
    return Tags(found.matrix, found.known, examples["tokens"].to_numpy())
