"""What a reader is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float, Int64

from saywell.data.examples import Examples, Kind
from saywell.description import Description

if TYPE_CHECKING:
    from saywell.language_models import LanguageModel
    from saywell.resources import Resources

RowNumbers = Int64[np.ndarray, " examples"] | Int64[np.ndarray, "descriptions examples"]
"""Places of examples in their table: one row for all descriptions, or a row for each."""
Predict = Callable[[Sequence[Description], RowNumbers], Float[np.ndarray, "descriptions examples"]]
"""Per description one number for each of its examples; higher: responds more strongly.

NaN is no answer: a reply that could not be read, a refusal, a description that this reader finds
nothing in. A description's numbers do not depend on what else is asked.
"""


class Reader(Protocol):
    """Predicts how strongly what is described responds to examples, having read the description only.

    Its numbers need no unit: a threshold is fitted on select examples (see scorers/thresholds.py).
    `version` rises when equal input may give other numbers.
    """

    @property
    def name(self) -> str:
        """As in tables and options."""
        ...

    @property
    def version(self) -> int:
        """Which way of reading this is."""
        ...

    @property
    def costly(self) -> bool:
        """Whether readings cost so much that only some units and examples are read."""
        ...

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The kinds of examples that it can read."""
        ...

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """Ready to read these examples. Raises InputError where something that it needs is missing."""
        ...


@runtime_checkable
class AsksLLM(Protocol):
    """A reader that asks the language model of a run."""

    def llm(self, resources: Resources) -> LanguageModel:
        """Whom it asks. Raises InputError where there is nobody."""
        ...


Spans = Sequence[tuple[int, int]]
"""Parts of a text, in characters, end exclusive."""
Pointing = Callable[[Description, int], Spans | None]
"""Where in the example of that row a description holds; empty: nowhere. None: it points at no part of any."""
CLAIMS = "claims"
"""The reader that executes what a description claims, where it claims anything."""


@runtime_checkable
class Points(Protocol):
    """A reader that says where in an example it found what is described."""

    def pointing(self, examples: Examples, resources: Resources) -> Pointing:
        """Ready to point into these examples. Raises InputError where something that it needs is missing."""
        ...


@runtime_checkable
class AsksElse(Protocol):
    """A reader that is asked something else than whether a unit fires on the study's examples."""

    def trial(self, exemplars: pl.DataFrame, examples: Examples, seed: int) -> Examples:
        """What it is shown instead, and what it should say.

        `exemplars`: unit, example, span_start, span_end, of select and score examples. The result is to
        be opened; its table has the unit that each item is about, `unit`, and whether yes is the right
        answer, `fires`.
        """
        ...


def rows_of_each(rows: RowNumbers, count: int) -> Sequence[Int64[np.ndarray, " examples"]]:
    """The rows of each of so many descriptions."""
    return list(rows) if rows.ndim == 2 else [rows] * count
