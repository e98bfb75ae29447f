"""What a hypothesis is tested on: texts, or pairs of texts of which one is favoured.

Of a pair each text is an example, so that whoever describes and reads sees texts; a pair is read as the
reading of its first text less that of its second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.data.examples import Examples
from saywell.data.parts import PARTS
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

    def read(self, readings: Float[np.ndarray, "some examples"]) -> Float[np.ndarray, "some items"]:
        """What is read of each text as what is read of each item: of pairs the first less the second."""
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
