"""Which descriptors hold of which sentence: step B.4 of the method, without an LLM.

A sentence carries a descriptor when it says one of the descriptor's wordings (`lexical`), or when
it is as close to what such sentences say as half of them are to each other (`encoder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float

from saywell.describers.phrases import phrase_matrix, phrases, words_and_punctuation
from saywell.encoders.vectors import unit_length

MIN_COHERENCE = 0.8
MIN_LEXICAL = 8
"""Fewer sentences with the wording than this cannot calibrate a similarity threshold."""


def tag_sentences(
    ids: Sequence[str],
    texts: Sequence[str],
    embeddings: Float[np.ndarray, "texts dim"],
    descriptors: pl.DataFrame,
    describe: Bool[np.ndarray, " texts"],
) -> pl.DataFrame:
    """Table `tags`: lexical tags (score 1) and encoder tags (score: cosine to the prototype).

    A descriptor's prototype is the mean vector of the describe sentences that say it; any
    sentence at least as close to it as the median of those carries the descriptor too.
    """
    lexical = lexical_matrix(texts, descriptors)
    prototypes = find_prototypes(embeddings, lexical, describe)
    frames = []
    names = descriptors["id"].to_list()
    said = lexical.tocoo()
    near = sp.coo_matrix((prototypes.similarity >= prototypes.threshold) & ~lexical.toarray().astype(bool))
    for matrix, source in ((said, "lexical"), (near, "encoder")):
        score = np.ones(matrix.nnz) if source == "lexical" else prototypes.similarity[matrix.row, matrix.col]
        frames.append(
            pl.DataFrame(
                {
                    "example": [ids[row] for row in matrix.row],
                    "descriptor": [names[column] for column in matrix.col],
                    "source": pl.Series([source] * matrix.nnz, dtype=pl.String),
                    "score": pl.Series(score, dtype=pl.Float64),
                },
                schema_overrides={"example": pl.String, "descriptor": pl.String},
            )
        )
    return pl.concat(frames).sort("example", "descriptor")


def lexical_matrix(texts: Sequence[str], descriptors: pl.DataFrame) -> sp.csr_matrix:
    """Binary sentences x descriptors: the sentence says one of the descriptor's wordings."""
    keys: dict[str, list[int]] = {}
    for column, members in enumerate(descriptors["members"].to_list()):
        for wording in members:
            longest = max(3, len(words_and_punctuation(wording)))
            whole = max(phrases(wording, longest), key=lambda p: len(p[0]), default=None)
            if whole is not None:
                keys.setdefault(whole[0], []).append(column)
    longest = max((len(key.split()) for key in keys), default=1)
    names = list(keys)
    said = phrase_matrix([dict(phrases(text, longest)) for text in texts], names)
    rows = [row for row, name in enumerate(names) for _ in keys[name]]
    columns = [column for name in names for column in keys[name]]
    membership = sp.csr_matrix(
        (np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(names), len(descriptors))
    )
    matrix = (said @ membership).tocsr()
    matrix.data[:] = 1.0
    return matrix


class Prototypes(NamedTuple):
    """What the sentences of each descriptor have in common, as vectors."""

    similarity: Float[np.ndarray, "texts descriptors"]
    """Cosine of every sentence to every prototype, after taking away what all sentences share."""
    threshold: Float[np.ndarray, " descriptors"]
    """The median similarity of a saying sentence; infinite where there are too few."""
    coherence: Float[np.ndarray, " descriptors"]
    """How well the prototype tells saying sentences from others: AUROC, 0.5 is chance.

    NaN where too few sentences say the descriptor, or all of them do.
    """


def find_prototypes(
    embeddings: Float[np.ndarray, "texts dim"], lexical: sp.csr_matrix, describe: Bool[np.ndarray, " texts"]
) -> Prototypes:
    """Prototypes from describe sentences; each saying sentence is judged by the others'.

    Leaving the sentence itself out keeps threshold and coherence from flattering themselves.
    """
    centred = unit_length(embeddings - (embeddings[describe].mean(0) if describe.any() else 0.0))
    chosen, vectors = lexical[describe].tocsc(), centred[describe]
    sums = np.asarray(chosen.T @ vectors)
    similarity = centred @ unit_length(sums).T
    threshold = np.full(lexical.shape[1], np.inf)
    coherence = np.full(lexical.shape[1], np.nan)
    for column in range(lexical.shape[1]):
        rows = chosen.indices[chosen.indptr[column] : chosen.indptr[column + 1]]
        if len(rows) < MIN_LEXICAL:
            continue
        others = unit_length(sums[column] - vectors[rows])
        own = (vectors[rows] * others).sum(1)
        rest = np.sort(np.delete(similarity[describe, column], rows))
        threshold[column] = np.median(own)
        if len(rest):
            below = np.searchsorted(rest, own, "left") + np.searchsorted(rest, own, "right")
            coherence[column] = below.mean() / (2 * len(rest))
    return Prototypes(similarity, threshold, coherence)


def drop_incoherent(
    descriptors: pl.DataFrame, embeddings: Float[np.ndarray, "texts dim"], texts: Sequence[str]
) -> pl.DataFrame:
    """The descriptors whose sentences are alike: filler that passed the phrase statistics goes.

    A descriptor with too few sentences to judge it by stays, by its wordings alone.
    """
    everything = np.ones(len(texts), dtype=bool)
    found = find_prototypes(embeddings, lexical_matrix(texts, descriptors), everything)
    return descriptors.filter(pl.Series(~(found.coherence < MIN_COHERENCE)))
