"""A reader that lets a language model play the unit: how strongly does it respond to each token?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.readers.asking import Asking
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.language_models import LanguageModel
    from saywell.resources import Resources

SIMULATE, SIMULATION = "simulate_activations", "simulation"
EXAMPLES_PER_REQUEST = 5
STRONGEST = 10


class Simulated(BaseModel):
    """Activations of the tokens of one example, in their order."""

    model_config = ConfigDict(extra="forbid")
    item: int
    activations: list[float]


@dataclass(frozen=True)
class SimulationReader:
    """The strongest activation, 0 to 10, that a language model expects at any token of an example.

    `tokens` are those of a text: its words, unless the source of the activations has others. An
    answer counts only when it has exactly one number from 0 to 10 for each token; otherwise it is
    NaN and adds a row to `resources.lost`. All numbers of a text come from one reply (not from token
    probabilities), as in the all-at-once simulator of Bills et al. 2023. A text without tokens is 0.
    """

    name: str = SIMULATION
    version: int = 1
    costly: bool = True
    reads: tuple[Kind, ...] = ("text", "pair")
    tokens: Callable[[str], Sequence[str]] = str.split
    batch_size: int = EXAMPLES_PER_REQUEST

    def llm(self, resources: Resources) -> LanguageModel:
        """As in `AsksLLM`."""
        return resources.need_llm(f"the reader {self.name!r}")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError where there is no language model."""
        texts = examples.texts
        asking = Asking(
            self.llm(resources),
            resources.prompt(SIMULATE),
            Simulated,
            self.name,
            self.batch_size,
            resources.seed,
            resources.lost,
        )

        @lru_cache(maxsize=4096)
        def tokens(row: int) -> Sequence[str]:
            return self.tokens(texts[row])

        def shown(row: int) -> str:
            # A token a line, as JSON: a token that is a line break must not look like two.
            return "\n".join(json.dumps(token, ensure_ascii=False) for token in tokens(row))

        def strongest(row: int, answer: Simulated) -> float | str:
            return _problem(answer.activations, len(tokens(row))) or max(answer.activations)

        def longest(rows: Sequence[int]) -> int:
            return 50 + 4 * max((len(tokens(row)) for row in rows), default=0)

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            said = [description.text for description in descriptions]
            each = rows_of_each(rows, len(said))
            found = np.zeros((len(said), rows.shape[-1]))
            some = [np.array([bool(tokens(int(row))) for row in own], dtype=bool) for own in each]
            asked = [own[there] for own, there in zip(each, some, strict=True)]
            answers = asking.numbers(said, asked, shown, strongest, longest)
            for number, (there, values) in enumerate(zip(some, answers, strict=True)):
                found[number, there] = values
            return found

        return predict


def _problem(activations: list[float], tokens: int) -> str | None:
    if len(activations) != tokens:
        return f"{len(activations)} activations for {tokens} tokens"
    outside = [a for a in activations if not 0 <= a <= STRONGEST]
    return f"activation {outside[0]!r} is not between 0 and {STRONGEST}" if outside else None
