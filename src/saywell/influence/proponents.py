"""The training examples that help a class most, and those that harm it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.store.table import Table

INFLUENCE = Table(
    "influence",
    {
        "model": pl.String,
        "class": pl.String,
        "side": pl.String,
        "rank": pl.Int32,
        "example": pl.String,
        "value": pl.Float64,
    },
    key=("model", "class", "side", "rank"),
)
"""Training images that help a class most (proponent) or harm it (opponent).

`model`: the classifier that influence was measured in.
"""


class Strongest(NamedTuple):
    """A class's strongest examples, strongest first."""

    rows: Int[np.ndarray, " k"]
    values: Float[np.ndarray, " k"]
    """Influence: positive for proponents, negative for opponents."""

    def shares(self) -> Float[np.ndarray, " k"]:
        """The sizes of the influences as parts of 1."""
        return np.abs(self.values) / max(np.abs(self.values).sum(), np.finfo(float).tiny)


def proponents(
    influence: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], classes: int, k: int = 20
) -> list[Strongest]:
    """Per class the k of its own examples with the highest influence, among those above 0.

    `influence[i]` is the mean influence of example i on the validation examples of its own class
    (`mean_over_own_class`). Fewer than k, or none, where a class has fewer; NaN is never chosen.
    Equal values rank by row.
    """
    return [_strongest(influence, np.flatnonzero(labels == c), k, 1) for c in range(classes)]


def opponents(influence: Float[np.ndarray, "n classes"], k: int = 20) -> list[Strongest]:
    """Per class the k examples of any class that harm it most.

    `influence[i, c]` is the mean influence of example i on the validation examples of class c
    (`mean_over_classes`).
    """
    every = np.arange(len(influence))
    return [_strongest(column, every, k, -1) for column in influence.T]


def _strongest(influence: np.ndarray, rows: np.ndarray, k: int, sign: int) -> Strongest:
    rows = rows[sign * influence[rows] > 0]
    best = rows[np.argsort(-sign * influence[rows], kind="stable")[:k]]
    return Strongest(best, influence[best].astype(np.float64))
