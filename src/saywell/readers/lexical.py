"""A reader without any model: how much of what a description says does an example say?

It takes words at their face, so it is blind to paraphrase, word order and negation. It is the floor
that a reader which understands something has to beat, and the ceiling for units that are words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int64

from saywell.data.parts import DescribeRows, require
from saywell.data.words import content_words, stem, words
from saywell.readers.alternatives import alternatives


class LexicalReader:
    """Share of a description's words that an example says, rare words counting more (0 to 1).

    Words are compared without their endings. A word weighs log((n + 1) / (k + 1)) + 1 where k of the
    n describe examples say it (the smoothed inverse document frequency). Of the alternatives that a
    description offers the best counts; function words count only in one that has no others.
    """

    name = "lexical"
    version = 1

    def __init__(self, texts: Sequence[str], known: DescribeRows) -> None:
        rows = require(DescribeRows, known).rows
        said = [{stem(word) for word in words(text)} for text in texts]
        self._column = {w: n for n, w in enumerate(sorted(set().union(*said)))}
        columns = [self._column[word] for found in said for word in sorted(found)]
        starts = np.concatenate([[0], np.cumsum([len(found) for found in said])])
        ones = np.ones(len(columns), dtype=np.float32)
        matrix = sp.csr_matrix((ones, columns, starts), shape=(len(said), len(self._column)))
        counts = np.asarray(matrix[rows].sum(0)).ravel()
        self._weight = np.log((len(rows) + 1) / (counts + 1)) + 1
        self._unknown = float(np.log(len(rows) + 1) + 1)
        self._says = matrix.tocsc()

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`; NaN only where a description has no words."""
        for description, asked in zip(descriptions, rows, strict=True):
            shares = [self._share(part) for part in alternatives(description)]
            best = np.max(shares, axis=0) if shares else np.full(self._says.shape[0], np.nan)
            yield best[asked]

    def _share(self, part: str) -> np.ndarray:
        sought = sorted(content_words(part) or {stem(word) for word in words(part)})
        known = [self._column[word] for word in sought if word in self._column]
        weights = self._weight[known]
        total = weights.sum() + self._unknown * (len(sought) - len(known))
        return (self._says[:, known] @ weights) / total if total else np.zeros(self._says.shape[0])
