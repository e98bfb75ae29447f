"""A reader without any model: how much of what a description says does an example say?

It takes words at their face, so it is blind to paraphrase, word order and negation. It is the floor
that a reader which understands something has to beat, and the ceiling for units that are words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from saywell.data.examples import Examples, Kind
from saywell.data.parts import DescribeRows, require
from saywell.data.words import content_words, stem, words
from saywell.description import Description
from saywell.readers.alternatives import alternatives
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class LexicalReader:
    """Share of a description's words that an example says, rare words counting more (0 to 1).

    Words are compared without their endings. A word weighs log((n + 1) / (k + 1)) + 1 where k of the
    n describe examples say it (the smoothed inverse document frequency). Of the alternatives that a
    description offers the best counts; function words count only in one that has no others. NaN only
    where a description has no words.
    """

    name: str = "lexical"
    version: int = 1
    costly: bool = False
    reads: tuple[Kind, ...] = ("text", "pair")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`."""
        return by_words(examples.texts, examples.parts.describe)


def by_words(texts: Sequence[str], known: DescribeRows) -> Predict:
    """Reads these texts; how rare a word is comes from those that are `known`."""
    rows = require(DescribeRows, known).rows
    said = [{stem(word) for word in words(text)} for text in texts]
    column = {w: n for n, w in enumerate(sorted(set().union(*said)))}
    columns = [column[word] for found in said for word in sorted(found)]
    starts = np.concatenate([[0], np.cumsum([len(found) for found in said])])
    ones = np.ones(len(columns), dtype=np.float32)
    matrix = sp.csr_matrix((ones, columns, starts), shape=(len(said), len(column)))
    counts = np.asarray(matrix[rows].sum(0)).ravel()
    weight = np.log((len(rows) + 1) / (counts + 1)) + 1
    unknown = float(np.log(len(rows) + 1) + 1)
    says = matrix.tocsc()

    def share(part: str) -> np.ndarray:
        sought = sorted(content_words(part) or {stem(word) for word in words(part)})
        places = [column[word] for word in sought if word in column]
        weights = weight[places]
        total = weights.sum() + unknown * (len(sought) - len(places))
        return (says[:, places] @ weights) / total if total else np.zeros(len(said))

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        found = np.full((len(descriptions), rows.shape[-1]), np.nan, dtype=np.float32)
        for number, asked in enumerate(rows_of_each(rows, len(descriptions))):
            shares = [share(part) for part in alternatives(descriptions[number].text)]
            if shares:
                found[number] = np.max(shares, axis=0)[asked]
        return found

    return predict
