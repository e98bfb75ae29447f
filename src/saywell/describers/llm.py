"""An LLM that says what the texts a unit responds to have in common, next to texts it ignores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field

from saywell.data.examples import Examples, Kind
from saywell.data.parts import DescribeRows
from saywell.describers.describer import Evidence
from saywell.describers.framed import OTHERS, PICTURES, SIDE, framed, pictures_of
from saywell.describers.marked import marked_texts, unmarked
from saywell.description import DESCRIBED, Description
from saywell.language_models import (
    DryRun,
    Image,
    LanguageModel,
    Message,
    Prompt,
    Request,
    Status,
    load_prompt,
)
from saywell.language_models.requests import need_open
from saywell.language_models.structured import tighter
from saywell.progress import Advance, increments
from saywell.readers.fuzzing import CLOSE, OPEN
from saywell.store.table import Table
from saywell.units.exemplars import contrast_table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

LLM = "llm"
DESCRIBE, DESCRIBE_MARKED, DESCRIBE_PICTURES = "describe_exemplars", "describe_marked", "describe_pictures"
"""Prompts: of whole texts, of texts in which the token is marked at which a unit fires most, of pictures."""
ASKED = "describe"
"""The step under which questions without an answer are stored."""
MOST_WORDS = 20
LONGEST = 300
"""Characters of a description; of a longer one the rest is cut off."""
EXEMPLARS = 20
MOST_PROMOTED = 10


@dataclass(frozen=True)
class ByLLM:
    """Asks the LLM what a unit's exemplars have in common that its contrasts lack; one request a unit.

    Where it is known at which tokens units fire, it is asked at which words (see `marked_texts`), and
    told the tokens that a unit promotes, if `promoted` has any.
    """

    name: str = LLM
    version: int = 1
    kinds: Sequence[Kind] = ("text", "pair", "image")
    needs_tags: bool = False
    tables: Sequence[Table] = ()
    promoted: Mapping[str, Sequence[str]] | Callable[[Evidence, StudyWriter], Mapping[str, Sequence[str]]] = (
        field(default_factory=dict)
    )
    """By unit the tokens that it makes more likely, most first; or what tells them when it is asked."""

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """What had no answer is among `resources.lost`, and the description's status says so.

        Raises InputError without a language model.
        """
        llm = resources.need_llm(f"the describer {self.name!r}")
        pictures, ids = evidence.examples.kind == "image", evidence.examples.ids
        name = DESCRIBE_PICTURES if pictures else DESCRIBE_MARKED if evidence.at_words else DESCRIBE
        prompt = resources.prompt(name)
        if pictures:
            shown = [Shown(*both) for both in pictures_of(evidence)]
        elif evidence.at_words:
            told = self.promoted(evidence, study) if callable(self.promoted) else self.promoted
            shown = list(_marked(evidence, told))
        else:
            texts = evidence.examples.texts
            shown = [
                Shown(*([texts[place] for place in places[:EXEMPLARS]] for places in both))
                for both in zip(evidence.places, _more_contrasts(evidence).contrast_places, strict=True)
            ]
        said = []
        with resources.progress(
            "descriptions by the LLM", sum(bool(each.exemplars) for each in shown)
        ) as advance:
            answers = describe_exemplars(llm, shown, prompt=prompt, seed=resources.seed, progress=advance)
        for unit, places, answer in zip(evidence.ids, evidence.places, answers, strict=True):
            if answer.status != "ok":
                reason = f"{answer.status}: {answer.reason}"
                resources.lost.append((ASKED, unit, reason, answer.call, answer.status))
                status = f"no description: the LLM gave no answer ({answer.status})"
            else:
                status = DESCRIBED if answer.text else f"no description: {answer.reason}"
            sources = tuple(ids[place] for place in places[:EXEMPLARS]) if answer.text else ()
            parts = (answer.text,) if answer.text else ()
            by, how = (llm.name, prompt.hash) if answer.call else (None, None)
            written = Description(
                unit, answer.text, status, parts=parts, sources=sources, llm=by, prompt_hash=how
            )
            said.append(written)
        return said

    def expect(self, llm: DryRun, examples: Examples, resources: Resources, units: int) -> None:
        """Count what `describe` would ask about so many units, of exemplars that are made up."""
        if examples.kind == "image":
            blank = framed(Pillow.new("RGB", (SIDE, SIDE)), None)
            each, prompt = Shown([blank] * PICTURES, [blank] * OTHERS), resources.prompt(DESCRIBE_PICTURES)
            with llm.guessing():
                describe_exemplars(llm, [each] * units, prompt=prompt, seed=resources.seed)
            return
        texts, prompt = examples.texts, resources.prompt(DESCRIBE)
        some = [[texts[(unit + n) % len(texts)] for n in range(EXEMPLARS)] for unit in range(units)]
        with llm.guessing():
            describe_exemplars(llm, [Shown(each, each) for each in some], prompt=prompt, seed=resources.seed)


def _marked(evidence: Evidence, promoted: Mapping[str, Sequence[str]]) -> Iterator[Shown]:
    texts, silent = evidence.examples.texts, evidence.contrast_places
    for unit, found, others in zip(evidence.ids, marked_texts(evidence), silent, strict=True):
        contrast = [unmarked(texts[place]) for place in others]
        told = list(promoted.get(unit, ()))[:MOST_PROMOTED]
        yield Shown(found.strongest, contrast, found.weaker, found.near, told)


def _more_contrasts(evidence: Evidence) -> Evidence:
    """As many contrasts as exemplars: a study keeps the first few of them, for people."""
    every = DescribeRows(np.arange(len(evidence.examples)))
    drawn = contrast_table(evidence.activations, evidence.examples.ids, every, evidence.seed, EXEMPLARS)
    return replace(evidence, contrasts=drawn)


class Shown(NamedTuple):
    """What the describer sees of a unit: texts or pictures it responds to, strongest first, and others.

    Where tokens are marked also texts to which it responds less, some with the same words to which it does
    not, and the tokens that it promotes.
    """

    exemplars: Sequence[str] | Sequence[Image]
    contrast: Sequence[str] | Sequence[Image]
    weaker: Sequence[str] = ()
    near: Sequence[str] = ()
    promoted: Sequence[str] = ()


class Written(NamedTuple):
    """A description, empty where there is none; `reason` says why."""

    text: str
    status: Status
    reason: str | None
    call: str


class CommonGround(BaseModel):
    """What a group of texts has in common; empty for nothing."""

    model_config = ConfigDict(extra="forbid")
    # Where a grammar holds the reply to its form it ends where the rest would be cut off.
    description: str = Field(json_schema_extra=tighter(maxLength=LONGEST))


def describe_exemplars(
    llm: LanguageModel,
    units: Sequence[Shown],
    *,
    prompt: Prompt | None = None,
    seed: int = 0,
    progress: Advance = lambda units: None,
) -> list[Written]:
    """One description per unit, from one request each; a unit without exemplars is not asked about.

    Nothing in common is an answer: status "ok" and an empty text. A refusal or a reply that cannot
    be read is not: its status and reason say so.
    """
    need_open(llm)
    prompt = prompt or load_prompt(DESCRIBE)
    asked = [number for number, shown in enumerate(units) if shown.exemplars]
    requests = [
        Request("describe", _messages(prompt, units[n]), CommonGround, prompt.hash, max_tokens=400, seed=seed)
        for n in asked
    ]
    replies = llm.complete(requests, progress=increments(progress))
    written = [Written("", "ok", "it has no exemplars", "") for _ in units]
    for number, reply in zip(asked, replies, strict=True):
        if isinstance(reply.parsed, CommonGround):
            text = clean(reply.parsed.description)
            reason = None if text else "nothing in common was found"
            written[number] = Written(text, "ok", reason, reply.key)
        else:
            reason = reply.error or "no reason given"
            written[number] = Written("", reply.status, reason, reply.key)
    return written


def _messages(prompt: Prompt, shown: Shown) -> tuple[Message, ...]:
    images = [one for one in (*shown.exemplars, *shown.contrast) if isinstance(one, Image)]
    if not images:
        return prompt.render(**_numbered(shown), most_words=MOST_WORDS)
    counted = {"exemplars": len(shown.exemplars), "contrast": len(shown.contrast)}
    *before, question = prompt.render(**counted, most_words=MOST_WORDS)
    return (*before, Message("user", (question.text, *images)))


def _numbered(shown: Shown) -> dict[str, list]:
    """The texts of each kind, counted through."""
    number, found = count(1), {}
    for name in ("exemplars", "weaker", "near", "contrast"):
        found[name] = [(next(number), text) for text in getattr(shown, name)]
    return found | {"promoted": [json.dumps(token, ensure_ascii=False) for token in shown.promoted]}


def clean(text: str) -> str:
    """One line of what can be printed, without quotation marks or a full stop around it, cut."""
    said = text.replace(OPEN, "").replace(CLOSE, "")  # marks of the question
    printable = "".join(c if c.isprintable() else " " for c in said)
    line = " ".join(printable.split()).removesuffix(".")
    quoted = len(line) > 1 and line[0] + line[-1] in ('""', "''", "“”") and line[0] not in line[1:-1]
    return (line[1:-1] if quoted else line)[:LONGEST].strip()
