"""Which set of texts a row is about: what tells it from others, in fields."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import polars as pl

from saywell.store.table import Table

RULE, CONTROL, BASELINE, FILE = "rule", "control", "baseline", "file"


class TextSet(NamedTuple):
    """A set of texts of classes, or (`method` alone) a way of training without any.

    The fields are columns of tables `zero_shot`, `transfer` and `transfer_summary`.
    """

    method: str
    """The rule or control that chose them, what they are, or the name of their file."""
    role: str
    """A rule, a control, a baseline, or somebody else's file."""
    network: bool = False
    """Whether the rule went by influence in a network trained from pixels."""
    name_free: bool = False
    """Whether class names in the texts are masked."""
    weighted: bool = False
    """Whether each text weighs as its score says."""
    searched: bool = False
    """Whether the study's rule chose them among as many as there are real texts."""

    @property
    def said(self) -> str:
        """For people to read."""
        told = {
            ", network": self.network,
            ", name-free": self.name_free,
            ", weighted": self.weighted,
            ", searched": self.searched,
        }
        kind = "file: " if self.role == FILE else ""
        return kind + self.method + "".join(words for words, holds in told.items() if holds)


_TEXTS: dict[str, Any] = {
    name: pl.String if name in ("method", "role") else pl.Boolean for name in TextSet._fields
}
_ACCURACY = ("accuracy", "ci_low", "ci_high", "difference", "difference_low", "difference_high")
_OVER_RANDOM = ("over_random", "over_random_low", "over_random_high")
_RUN = {"training": pl.String, "shots": pl.Int32, "selection": pl.String}
ZERO_SHOT = Table(
    "zero_shot",
    {
        **_TEXTS,
        "texts": pl.Int64,
        **dict.fromkeys(_ACCURACY, pl.Float64),
        "n": pl.Int64,
        **dict.fromkeys(_OVER_RANDOM, pl.Float64),
    },
    key=TextSet._fields,
    optional=frozenset(_OVER_RANDOM),
    version=2,
)
"""Accuracy of texts alone, and its difference to class names in templates; for the study's rule also to
what the same rule chooses among random words."""
TRANSFER = Table(
    "transfer",
    {**_TEXTS, **_RUN, "seed": pl.Int64, "accuracy": pl.Float64, "chosen": pl.Float64},
    key=(*TextSet._fields, *_RUN, "seed"),
    version=2,
)
"""Accuracy of classifiers of images that go on learning from texts, seed by seed.

`shots` 0 is all training images; `selection` says which labelled images chose texts and learning rates:
"select" (beside the shots) or "shots" (inside them alone).
"""
TRANSFER_SUMMARY = Table(
    "transfer_summary",
    {**_TEXTS, **_RUN, **dict.fromkeys(_ACCURACY, pl.Float64), "seeds": pl.Int64, "n": pl.Int64},
    key=(*TextSet._fields, *_RUN),
    version=2,
)
"""The same over seeds, with the paired difference to images only."""


def without_nan(row: Iterable[Any]) -> tuple[Any, ...]:
    """A row of these tables, where what is not known is null."""
    return tuple(None if isinstance(value, float) and math.isnan(value) else value for value in row)
