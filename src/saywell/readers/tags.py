"""A reader that goes by the tags of an example: no text is read at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saywell.data.examples import Examples, Kind
from saywell.data.tags import Tags
from saywell.description import Description
from saywell.errors import InputError
from saywell.readers.reader import Predict, RowNumbers

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class TagReader:
    """How many of the descriptors that a description names does an example carry?

    NaN where nobody knows the example's tags, and for a description that names no descriptor.
    """

    name: str = "tags"
    version: int = 1
    costly: bool = False
    reads: tuple[Kind, ...] = ("text", "image", "pair")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError for examples without tags."""
        if examples.tags is None:
            raise InputError(
                "the reader 'tags' needs tags of the examples: name a column of them (tags=...), or a"
                " describer that finds descriptors"
            )
        return by_tags(examples.tags)


def by_tags(tags: Tags) -> Predict:
    """Reads by these tags. Reading raises InputError for a descriptor that is not among them."""

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        weights = np.zeros((len(descriptions), len(tags.ids)), dtype=np.float32)
        for number, description in enumerate(descriptions):
            weights[number, [_column(tags, name) for name in description.descriptors]] = 1
        if rows.ndim == 1:
            carried = (tags.matrix[rows] @ weights.T).T
        else:
            each = [tags.matrix[own] @ weight for own, weight in zip(rows, weights, strict=True)]
            carried = np.array(each).reshape(rows.shape)
        says = weights.any(1, keepdims=True) & tags.known[rows]
        return np.where(says, carried, np.nan).astype(np.float32)

    return predict


def _column(tags: Tags, name: str) -> int:
    if name not in tags.column:
        raise InputError(f"a description names the descriptor {name!r}, which is none of the tags")
    return tags.column[name]
