"""A reader that asks a language model: does the description hold of this example?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.readers.asking import Asking, AskingYesOrNo
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.language_models import LanguageModel
    from saywell.resources import Resources

DETECT, DETECT_ONE = "detect_examples", "detect_example"
DETECTION, BY_TEXT = "detection", "detection-by-text"
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

    Where the model tells how probable its answers are, that is the probability of "yes" and not of "no"
    as its first word, asked of one example a request: there is nothing to parse. Elsewhere, or with
    `by_text`, it says yes or no of several examples a request, and in a number how sure it is.

    An example that got no usable answer is NaN and adds a row to `resources.lost`.
    """

    name: str = DETECTION
    version: int = 2
    costly: bool = True
    reads: tuple[Kind, ...] = ("text", "pair")
    prompt: str = DETECT
    prompt_of_one: str = DETECT_ONE
    batch_size: int = EXAMPLES_PER_REQUEST
    by_text: bool = False

    def llm(self, resources: Resources) -> LanguageModel:
        """As in `AsksLLM`."""
        return resources.need_llm(f"the reader {self.name!r}")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError where there is no language model."""
        texts = examples.texts
        llm = self.llm(resources)
        of_one = AskingYesOrNo(
            llm, resources.prompt(self.prompt_of_one), self.name, resources.seed, resources.lost
        )
        asking = Asking(
            llm,
            resources.prompt(self.prompt),
            Verdict,
            self.name,
            self.batch_size,
            resources.seed,
            resources.lost,
        )

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            said = [description.text for description in descriptions]
            each, shown = rows_of_each(rows, len(said)), texts.__getitem__
            if rows.size and not self.by_text and of_one.possible:
                found = of_one.numbers(said, each, shown)
            else:
                found = asking.numbers(said, each, shown, _degree)
            return np.array(found).reshape(len(said), rows.shape[-1])

        return predict


def _degree(row: int, verdict: Verdict) -> float | str:
    degree = verdict.degree()
    return f"confidence {verdict.confidence!r} is not between 0 and 1" if degree is None else degree
