"""What is to be explained: a number for each text, or for each pair which of the two is favoured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

OutcomeKind = Literal["binary", "ordinal", "count", "real"]
"""Yes or no as 1 and 0; a few steps in an order; whole numbers from 0 up; any number."""


@dataclass(frozen=True)
class Outcome:
    """A target, or one value of it against all others.

    `values`: one for each item, a text or a pair (of which it is 1 where the first is favoured); NaN where
    nothing is known. `name`: "stars", or "label=clickbait". `unit`: what a difference of 1 is, "stars";
    empty where it is a share.
    """

    name: str
    kind: OutcomeKind
    values: Float[np.ndarray, " items"]
    unit: str = ""

    @property
    def known(self) -> Bool[np.ndarray, " items"]:
        """Of which items it is known."""
        return ~np.isnan(self.values)
