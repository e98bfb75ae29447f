"""What the readers that ask a language model share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from saywell.data.splits import content_ids
from saywell.language_models import LanguageModel, Prompt, ask_items

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


def ask_about(
    llm: LanguageModel,
    description: str,
    shown: Mapping[int, str],
    prompt: Prompt,
    row: type[Row],
    *,
    step: str,
    batch_size: int,
    max_tokens_per_item: int = 100,
    seed: int = 0,
) -> tuple[dict[int, tuple[Row, str]], list[Unanswered]]:
    """What the model said of each example (place -> text as it is shown), with the call's key.

    A request holds one description, so that no other can colour the answer.
    """
    replies = ask_items(
        llm,
        {str(place): text for place, text in shown.items()},
        prompt,
        row,
        step=step,
        batch_size=batch_size,
        data={"description": description},
        max_tokens_per_item=max_tokens_per_item,
        seed=seed,
    )
    answers: dict[int, tuple[Row, str]] = {}
    missing = []
    for place, reply in zip(shown, replies.values(), strict=True):
        if reply.row is not None:
            answers[place] = reply.row, reply.key
        else:
            reason = f"{reply.status}: {reply.error or 'no reason given'}"
            missing.append(unanswered(step, description, place, reason, reply.key, reply.status))
    return answers, missing


def unanswered(
    step: str, description: str, place: int, reason: str, call: str, status: str = "unparsed"
) -> Unanswered:
    """The row that says why there is no answer about an example."""
    return Unanswered(step, f"{content_ids([description])[0]}:{place}", reason, call, status)
