"""A reader that lets a language model play the unit: how strongly does it respond to each token?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64
from pydantic import BaseModel, ConfigDict

from saywell.language_models import LanguageModel, Prompt, load_prompt
from saywell.readers.asking import Unanswered, ask_about, unanswered

SIMULATE = "simulate_activations"
EXAMPLES_PER_REQUEST = 5
STRONGEST = 10


class Simulated(BaseModel):
    """Activations of the tokens of one example, in their order."""

    model_config = ConfigDict(extra="forbid")
    item: int
    activations: list[float]


class SimulationReader:
    """The strongest activation, 0 to 10, that a language model expects at any token of an example.

    `tokens` are the tokens of each example as text. An answer counts only when it has exactly one
    number from 0 to 10 for each token; otherwise it is NaN and adds a row to `unanswered`. All
    numbers of a text come from one reply (not from token probabilities), as in the all-at-once
    simulator of Bills et al. 2023.
    """

    name = "simulation"
    version = 1

    def __init__(
        self,
        llm: LanguageModel,
        tokens: Sequence[Sequence[str]],
        *,
        prompt: Prompt | None = None,
        batch_size: int = EXAMPLES_PER_REQUEST,
        seed: int = 0,
    ) -> None:
        self._llm, self._tokens, self._batch_size, self._seed = llm, tokens, batch_size, seed
        self._prompt = prompt or load_prompt(SIMULATE)
        self.unanswered: list[Unanswered] = []

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`: the maximum over tokens, 0 for an example without tokens."""
        for description, asked in zip(descriptions, rows, strict=True):
            simulated = self.simulate(description, asked)
            yield np.array([np.nan if a is None else float(a.max(initial=0.0)) for a in simulated])

    def simulate(
        self, description: str, rows: Int64[np.ndarray, " examples"]
    ) -> list[Float[np.ndarray, " tokens"] | None]:
        """Per example one number per token, 0 to 10; None where there is no usable answer."""
        sizes = {int(row): len(self._tokens[row]) for row in rows}
        # A token a line, as JSON: a token that is a line break must not look like two.
        shown = {
            row: "\n".join(json.dumps(token, ensure_ascii=False) for token in self._tokens[row])
            for row, size in sizes.items()
            if size
        }
        answers, missing = ask_about(
            self._llm,
            description,
            shown,
            self._prompt,
            Simulated,
            step="simulation",
            batch_size=self._batch_size,
            max_tokens_per_item=50 + 4 * max(sizes.values(), default=0),
            seed=self._seed,
        )
        result: dict[int, np.ndarray] = {row: np.zeros(0) for row, size in sizes.items() if not size}
        for row, (answer, call) in answers.items():
            problem = _problem(answer.activations, sizes[row])
            if problem:
                reason = f"unparsed: {problem}"
                missing.append(unanswered("simulation", description, row, reason, call))
            else:
                result[row] = np.array(answer.activations, dtype=np.float64)
        self.unanswered += missing
        return [result.get(int(row)) for row in rows]


def _problem(activations: list[float], tokens: int) -> str | None:
    if len(activations) != tokens:
        return f"{len(activations)} activations for {tokens} tokens"
    outside = [a for a in activations if not 0 <= a <= STRONGEST]
    return f"activation {outside[0]!r} is not between 0 and {STRONGEST}" if outside else None
