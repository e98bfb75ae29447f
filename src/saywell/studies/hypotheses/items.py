"""What a hypothesis is tested on: texts, or pairs of texts of which one is favoured.

Of a pair each text is an example, so that whoever describes and reads sees texts; a pair is read as the
reading of its first text less that of its second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.data.covariates import length_columns
from saywell.data.examples import Examples
from saywell.data.parts import PARTS
from saywell.scorers.null_model import Null, null_model
from saywell.scorers.outcomes import Outcome


@dataclass(frozen=True)
class Items:
    """Rows of examples: of each item its text, or the first and second text of a pair.

    Items with the same text share its example. `parts`: describe, select or score of each, as of its
    texts. `rows`: of each its place in the source, by which it is named; no two have the same.
    """

    first: Int[np.ndarray, " items"]
    second: Int[np.ndarray, " items"] | None
    parts: np.ndarray
    rows: Int[np.ndarray, " items"]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def pairs(self) -> bool:
        """Whether items are pairs."""
        return self.second is not None

    def of(self, *parts: str) -> Int[np.ndarray, " some"]:
        """The items of some parts, by number."""
        assert set(parts) <= set(PARTS)
        return np.flatnonzero(np.isin(self.parts, parts))

    def read(self, readings: Any) -> Any:
        """What is read of texts [some, examples] as what is read of items: of pairs first less second.

        Dense or sparse, as it was.
        """
        own = readings[:, self.first]
        return own if self.second is None else own - readings[:, self.second]


@dataclass(frozen=True)
class Asked:
    """Examples with what goes with them.

    `outcomes`: of the items, as all that follows. `covariates`: one column each that `names` names, without a
    column of ones, never NaN (an item without one has no outcome). `clusters`: numbers of what items have in
    common, so that they are not independent (near duplicates, a prompt); None where each stands alone.
    `raters`: who said the outcome. `notes`: what had to be assumed.
    """

    examples: Examples
    items: Items
    outcomes: tuple[Outcome, ...]
    covariates: Float[np.ndarray, "items covariates"]
    names: tuple[str, ...] = ()
    clusters: Int[np.ndarray, " items"] | None = None
    raters: pl.Series | None = None
    notes: tuple[str, ...] = ()

    def rows_of(self, items: Int[np.ndarray, " some"]) -> list[Int[np.ndarray, " some"]]:
        """The rows of the texts of some items: one array, two for pairs."""
        found = [self.items.first[items]]
        return found if self.items.second is None else [*found, self.items.second[items]]

    def null(
        self, outcome: int, items: Int[np.ndarray, " some"], *, alone: bool = False, at_length: bool = False
    ) -> Null | None:
        """One of the outcomes explained by the covariates, on some items; None where it has one value there.

        `alone`: by nothing; `at_length`: by the number of words as well. Raises InputError as `null_model`.
        """
        own = self.outcomes[outcome]
        values = own.values[items][own.known[items]]
        if not len(values) or values.min() == values.max():
            return None
        held = np.hstack([self.covariates, self.length]) if at_length else self.covariates
        return null_model(own, None if alone else held, self.clusters, items)

    @cached_property
    def length(self) -> Float[np.ndarray, "items columns"]:
        """The logarithm of the number of words; of pairs its difference."""
        columns = length_columns(self.examples.table["text"])
        return self.items.read(np.array([column.to_numpy() for column in columns])).T
