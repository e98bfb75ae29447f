"""A reader that asks a language model: does the description hold of this example?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from pydantic import BaseModel, ConfigDict

from saywell.language_models import LanguageModel, Prompt, load_prompt
from saywell.readers.asking import Unanswered, ask_about, unanswered

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


class DetectionReader:
    """How sure a language model is that a description holds of an example (0 to 1).

    `unanswered` grows by one row for each example that got no usable answer; its number is NaN.
    """

    name = "detection"
    version = 1

    def __init__(
        self,
        llm: LanguageModel,
        texts: Sequence[str],
        *,
        prompt: Prompt | None = None,
        batch_size: int = EXAMPLES_PER_REQUEST,
        seed: int = 0,
    ) -> None:
        self._llm, self._texts, self._batch_size, self._seed = llm, texts, batch_size, seed
        self._prompt = prompt or load_prompt(DETECT)
        self.unanswered: list[Unanswered] = []

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`."""
        for description, asked in zip(descriptions, rows, strict=True):
            shown = {int(row): self._texts[int(row)] for row in asked}
            degrees, missing = ask_verdicts(
                self._llm,
                description,
                shown,
                self._prompt,
                step=DETECTION,
                batch_size=self._batch_size,
                seed=self._seed,
            )
            self.unanswered += missing
            yield np.array([degrees.get(int(row), np.nan) for row in asked])


def ask_verdicts(
    llm: LanguageModel,
    description: str,
    shown: dict[int, str],
    prompt: Prompt,
    *,
    step: str,
    batch_size: int,
    seed: int,
) -> tuple[dict[int, float], list[Unanswered]]:
    """Degree (0 to 1) per example that has an answer, and the others with the reason."""
    answers, missing = ask_about(
        llm, description, shown, prompt, Verdict, step=step, batch_size=batch_size, seed=seed
    )
    degrees: dict[int, float] = {}
    for place, (verdict, call) in answers.items():
        degree = verdict.degree()
        if degree is None:
            reason = f"unparsed: confidence {verdict.confidence!r} is not between 0 and 1"
            missing.append(unanswered(step, description, place, reason, call))
        else:
            degrees[place] = degree
    return degrees, missing
