"""What a reader is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int64


class Reader(Protocol):
    """Predicts how strongly what is described responds to examples, having read the description only.

    A reader is opened over the examples of a study, which it knows by their places in the table.
    Its numbers need no unit: a threshold is fitted on selection examples (see scorers/thresholds.py).
    `version` rises when equal input may give other numbers.
    """

    name: str
    version: int

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """Per description one number for each of its own `rows`; higher: responds more strongly.

        NaN is no answer: a reply that could not be read, a refusal. Descriptions are independent of
        each other; a description's numbers do not depend on what else is asked.
        """
        ...
