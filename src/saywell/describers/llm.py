"""An LLM that says what the texts a unit responds to have in common, next to texts it ignores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from saywell.language_models import LanguageModel, Prompt, Request, Status, load_prompt

DESCRIBE = "describe_exemplars"
MOST_WORDS = 20
LONGEST = 300
"""Characters of a description; of a longer one the rest is cut off."""
EXEMPLARS = 20


class Shown(NamedTuple):
    """What the describer sees of a unit: texts it responds to, strongest first, and others."""

    exemplars: Sequence[str]
    contrast: Sequence[str]


class Written(NamedTuple):
    """A description, empty where there is none; `reason` says why."""

    text: str
    status: Status
    reason: str | None
    call: str


class CommonGround(BaseModel):
    """What a group of texts has in common; empty for nothing."""

    model_config = ConfigDict(extra="forbid")
    description: str


def describe_exemplars(
    llm: LanguageModel, units: Sequence[Shown], *, prompt: Prompt | None = None, seed: int = 0
) -> list[Written]:
    """One description per unit, from one request each; a unit without exemplars is not asked about.

    Nothing in common is an answer: status "ok" and an empty text. A refusal or a reply that cannot
    be read is not: its status and reason say so.
    """
    prompt = prompt or load_prompt(DESCRIBE)
    asked = [number for number, shown in enumerate(units) if shown.exemplars]
    requests = [
        Request(
            "describe",
            prompt.render(
                exemplars=list(enumerate(units[n].exemplars, 1)),
                contrast=list(enumerate(units[n].contrast, len(units[n].exemplars) + 1)),
                most_words=MOST_WORDS,
            ),
            CommonGround,
            prompt.hash,
            max_tokens=400,
            seed=seed,
        )
        for n in asked
    ]
    written = [Written("", "ok", "it has no exemplars", "") for _ in units]
    for number, reply in zip(asked, llm.complete(requests), strict=True):
        if isinstance(reply.parsed, CommonGround):
            text = clean(reply.parsed.description)
            reason = None if text else "nothing in common was found"
            written[number] = Written(text, "ok", reason, reply.key)
        else:
            reason = reply.error or "no reason given"
            written[number] = Written("", reply.status, reason, reply.key)
    return written


def clean(text: str) -> str:
    """One line of what can be printed, without quotation marks or a full stop around it, cut."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split()).removesuffix(".")
    quoted = len(line) > 1 and line[0] + line[-1] in ('""', "''", "“”") and line[0] not in line[1:-1]
    return (line[1:-1] if quoted else line)[:LONGEST].strip()
