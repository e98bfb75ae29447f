"""A reader that asks a language model: does the description hold of this example?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.readers.asking import Asking
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.resources import Resources

DETECT, DETECTION = "detect_examples", "detection"
EXAMPLES_PER_REQUEST = 10


class Verdict(BaseModel):
    """Whether a description holds of one example, and how sure that is, 0 to 1."""

    model_config = ConfigDict(extra="forbid")
    item: int
    holds: Literal["yes", "no"]
    confidence: float

    def degree(self) -> float | None:
        """0 (certainly not) to 1 (certainly), 0.5 where unsure; None for an impossible confidence."""
        if not 0 <= self.confidence <= 1:
            return None
        return 0.5 + self.confidence / 2 * (1 if self.holds == "yes" else -1)


@dataclass(frozen=True)
class DetectionReader:
    """How sure a language model is that a description holds of an example (0 to 1).

    An example that got no usable answer is NaN and adds a row to `resources.lost`.
    """

    name: str = DETECTION
    version: int = 1
    costly: bool = True
    reads: tuple[Kind, ...] = ("text", "pair")
    prompt: str = DETECT
    batch_size: int = EXAMPLES_PER_REQUEST

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError where there is no language model."""
        texts = examples.texts
        asking = Asking(
            resources.need_llm(f"the reader {self.name!r}"),
            resources.prompt(self.prompt),
            Verdict,
            self.name,
            self.batch_size,
            resources.seed,
            resources.lost,
        )

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            said = [description.text for description in descriptions]
            found = asking.numbers(said, rows_of_each(rows, len(said)), texts.__getitem__, _degree)
            return np.array(found).reshape(len(said), rows.shape[-1])

        return predict


def _degree(row: int, verdict: Verdict) -> float | str:
    degree = verdict.degree()
    return f"confidence {verdict.confidence!r} is not between 0 and 1" if degree is None else degree
