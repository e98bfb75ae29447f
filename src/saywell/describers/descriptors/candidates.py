"""Candidate descriptors for every sentence, without an LLM: the extractive describer.

It takes the place of the LLM in step B.2 of the method: for each sentence, the phrases in it that
are most typical of sentences like it. Everything after it is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.describers.descriptors.tables import CANDIDATES
from saywell.describers.phrases import PRIOR_STRENGTH, PhraseCounts, log_odds_z, topic_labels

FEW = 0.1
"""Share of sentences with a typical phrase below which the prior is taken to be too strong."""


def extract_candidates(
    ids: Sequence[str],
    texts: Sequence[str],
    embeddings: Float[np.ndarray, "texts dim"],
    *,
    per_sentence: int = 3,
    min_sentences: int | None = None,
    min_z: float = 2.0,
    seed: int = 0,
) -> pl.DataFrame:
    """Table `candidates`: per sentence up to `per_sentence` phrases, most typical first.

    Sentences are grouped into topics by their vectors; a phrase's score in a sentence is the
    log-odds z score of the phrase in the sentence's topic against all other sentences. Phrases in
    fewer than `min_sentences` sentences (default: 3, or 1 in 2,000) are not considered. Where the
    usual prior outweighs a small corpus, so that hardly a sentence has a typical phrase, it counts
    for a tenth of the corpus instead.
    """
    if min_sentences is None:
        min_sentences = max(3, len(texts) // 2000)
    counts = PhraseCounts(texts, min_sentences=min_sentences)
    # In the order of the alphabet, so that the order in which sentences came does not matter.
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.intp)
    topics = np.empty(len(texts), dtype=np.intp)
    topics[order] = topic_labels(embeddings[order], seed)
    per_topic = np.zeros((topics.max(initial=0) + 1, len(counts.keys)))
    for topic in range(len(per_topic)):
        per_topic[topic] = counts.matrix[topics == topic].sum(0)
    z = log_odds_z(per_topic)
    said = counts.matrix.tocoo()
    typical = np.unique(said.row[z[topics[said.row], said.col] >= min_z])
    if len(typical) < FEW * len(texts):
        z = log_odds_z(per_topic, min(PRIOR_STRENGTH, max(1.0, per_topic.sum() / 10)))
    # Words that are only ever said together tie with their phrase, and it says more.
    length_first = [(-key.count(" "), key) for key in counts.keys]
    rows: list[tuple[str, int, str, float]] = []
    for row, example in enumerate(ids):
        said = counts.matrix.indices[counts.matrix.indptr[row] : counts.matrix.indptr[row + 1]]
        ranked = sorted(said, key=lambda key: (-z[topics[row], key], *length_first[key]))
        kept = [key for key in ranked if z[topics[row], key] >= min_z]
        for rank, key in enumerate(_without_parts(kept, counts)[:per_sentence]):
            rows.append((example, rank, counts.wordings[key], float(z[topics[row], key])))
    return CANDIDATES.frame(rows)


def _without_parts(ranked: list[int], counts: PhraseCounts) -> list[int]:
    """Drop a phrase that a better ranked one of the same sentence contains, or is part of."""
    kept: list[int] = []
    for key in ranked:
        padded = f" {counts.keys[key]} "
        if not any(
            padded in f" {counts.keys[other]} " or f" {counts.keys[other]} " in padded for other in kept
        ):
            kept.append(key)
    return kept
