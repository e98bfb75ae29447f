"""What the readers that ask a language model share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int64
from pydantic import BaseModel

from saywell.data.splits import content_ids
from saywell.language_models import Group, LanguageModel, Prompt, Request, ask_groups

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


CHOICES = ("yes", "no")
_LONGEST_CHOICE = 16
"""Tokens, where a server says a word instead of probabilities."""


@dataclass(frozen=True)
class AskingYesOrNo:
    """How a language model is asked of one example at a time, where it tells how probable its answers are."""

    llm: LanguageModel
    prompt: Prompt
    step: str
    seed: int
    lost: list[Unanswered]
    """Grows by one row for each example that got no usable answer."""

    @cached_property
    def possible(self) -> bool:
        """Whether the model tells probabilities: it says so, or its reply to a question of no study shows it.

        Where that did not come it counts as possible, and among the lost, so that the next run asks again.
        """
        said: bool | None = getattr(self.llm, "gives_probabilities", False)
        if said is not None:
            return said
        (reply,) = self.llm.complete([self._request("rain", "It rained all night.")])
        if reply.status == "failed" and not reply.rejected:
            self.lost.append(Unanswered(self.step, "choices", f"failed: {reply.error}", reply.key, "failed"))
            return True
        return reply.probabilities is not None

    def numbers(
        self,
        descriptions: Sequence[str],
        rows: Sequence[Int64[np.ndarray, " examples"]],
        shown: Callable[[int], str],
    ) -> list[Float[np.ndarray, " examples"]]:
        """Per description the probability of yes for each of its rows; NaN where there is none."""
        asked = dict.fromkeys(
            (description, int(row))
            for description, own in zip(descriptions, rows, strict=True)
            for row in own
        )
        replies = self.llm.complete([self._request(text, shown(row)) for text, row in asked])
        found: dict[tuple[str, int], float] = {}
        for (description, row), reply in zip(asked, replies, strict=True):
            if reply.probabilities is not None and reply.status == "ok":
                found[description, row] = reply.probabilities["yes"]
                continue
            status = "unparsed" if reply.status == "ok" else reply.status
            reason = f"{status}: {reply.error or 'it tells no probabilities'}"
            self.lost.append(unanswered(self.step, description, row, reason, reply.key, status))
        return [
            np.array([found.get((description, int(row)), np.nan) for row in own])
            for description, own in zip(descriptions, rows, strict=True)
        ]

    def _request(self, description: str, text: str) -> Request:
        messages = self.prompt.render(description=description, text=text)
        return Request(
            self.step,
            messages,
            prompt_hash=self.prompt.hash,
            max_tokens=_LONGEST_CHOICE,
            seed=self.seed,
            choices=CHOICES,
        )


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
                    self.lost.append(unanswered(self.step, description, row, reason, reply.key, reply.status))
                elif isinstance(value := number(row, reply.row), str):
                    reason = f"unparsed: {value}"
                    unusable.append(unanswered(self.step, description, row, reason, reply.key, "unparsed"))
                else:
                    known[row] = value
            self.lost.extend(unusable)
            found.append(np.array([known.get(int(row), np.nan) for row in places]))
        return found


def unanswered(step: str, description: str, row: int, reason: str, call: str, status: str) -> Unanswered:
    """The row of an example about which a question had no usable answer."""
    return Unanswered(step, f"{content_ids([description])[0]}:{row}", reason, call, status)
