"""What the readers that ask a language model share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int64
from pydantic import BaseModel

from saywell.data.splits import content_ids
from saywell.language_models import Group, LanguageModel, Prompt, ask_groups

Row = TypeVar("Row", bound=BaseModel)


class Unanswered(NamedTuple):
    """A question without an answer, as a row of the table `unanswered`."""

    step: str
    item: str
    """Hash of the description, and the example's place."""
    reason: str
    call: str
    status: str
    """As in LLM replies."""


@dataclass(frozen=True)
class Asking(Generic[Row]):
    """How a language model is asked about examples: all that does not depend on what is described."""

    llm: LanguageModel
    prompt: Prompt
    row: type[Row]
    step: str
    batch_size: int
    seed: int
    lost: list[Unanswered]
    """Grows by one row for each example that got no usable answer."""

    def numbers(
        self,
        descriptions: Sequence[str],
        rows: Sequence[Int64[np.ndarray, " examples"]],
        shown: Callable[[int], str],
        number: Callable[[int, Row], float | str],
        max_tokens_per_item: Callable[[Sequence[int]], int] = lambda rows: 100,
    ) -> list[Float[np.ndarray, " examples"]]:
        """Per description one number for each of its rows; NaN where there is no usable answer.

        `shown` is an example as text; `number` what an answer about an example comes to, or what is
        wrong with it. A request holds one description, so that no other can colour the answer; those
        of all descriptions are in flight together.
        """
        asked = [list(dict.fromkeys(int(row) for row in own)) for own in rows]
        groups = [
            Group(
                {str(row): shown(row) for row in own}, {"description": description}, max_tokens_per_item(own)
            )
            for description, own in zip(descriptions, asked, strict=True)
        ]
        replies = ask_groups(
            self.llm,
            groups,
            self.prompt,
            self.row,
            step=self.step,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        found = []
        for description, own, answers, places in zip(descriptions, asked, replies, rows, strict=True):
            known: dict[int, float] = {}
            unusable: list[Unanswered] = []
            for row, reply in zip(own, answers.values(), strict=True):
                if reply.row is None:
                    reason = f"{reply.status}: {reply.error or 'no reason given'}"
                    self.lost.append(self._unanswered(description, row, reason, reply.key, reply.status))
                elif isinstance(value := number(row, reply.row), str):
                    reason = f"unparsed: {value}"
                    unusable.append(self._unanswered(description, row, reason, reply.key, "unparsed"))
                else:
                    known[row] = value
            self.lost.extend(unusable)
            found.append(np.array([known.get(int(row), np.nan) for row in places]))
        return found

    def _unanswered(self, description: str, row: int, reason: str, call: str, status: str) -> Unanswered:
        return Unanswered(self.step, f"{content_ids([description])[0]}:{row}", reason, call, status)
