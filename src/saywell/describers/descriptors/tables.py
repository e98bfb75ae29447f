"""What taggers leave in a study: candidates, descriptors, and which example carries which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.tags import Tags
from saywell.store.study import Study
from saywell.store.table import UNANSWERED, Table

CANDIDATES = Table(
    "candidates",
    {"example": pl.String, "rank": pl.Int32, "text": pl.String, "score": pl.Float64},
    key=("example", "rank"),
)
"""What was said of an example, best first, before wordings were merged."""
DESCRIPTORS = Table(
    "descriptors",
    {"id": pl.String, "text": pl.String, "members": pl.List(pl.String), "mentions": pl.Int64},
    key=("id",),
)
"""Descriptors after merging: `members` are the wordings that were merged into `text`."""
TAGS = Table(
    "tags",
    {"example": pl.String, "descriptor": pl.String, "source": pl.String, "score": pl.Float64},
    key=("example", "descriptor"),
)
"""This descriptor holds of this example, and who said so."""


def tag_matrix(
    ids: Sequence[str], descriptors: pl.DataFrame, tags: pl.DataFrame, lost: Iterable[str] = ()
) -> Tags:
    """The tables as a matrix of examples (their ids in this order) by descriptors; `lost` got no answer."""
    row = {example: number for number, example in enumerate(ids)}
    column = {name: number for number, name in enumerate(descriptors["id"])}
    rows = [row[example] for example in tags["example"]]
    columns = [column[name] for name in tags["descriptor"]]
    ones = np.ones(len(rows), dtype=np.float64)
    matrix = sp.csr_matrix((ones, (rows, columns)), shape=(len(row), len(column)))
    known = np.ones(len(row), dtype=bool)
    known[[row[example] for example in lost]] = False
    return Tags(matrix, known, tuple(column), tuple(descriptors["text"]))


def stored_tags(study: Study, ids: Sequence[str], sources: Sequence[str] | None = None) -> Tags:
    """What a tagger left in the study of examples with these ids, by all sources or some."""
    tags = study.table(TAGS)
    if sources is not None:
        tags = tags.filter(pl.col("source").is_in(list(sources)))
    lost = study.table(UNANSWERED).filter(step="tags")["item"]
    return tag_matrix(ids, study.table(DESCRIPTORS), tags, lost)
