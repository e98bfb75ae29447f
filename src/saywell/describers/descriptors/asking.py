"""Candidate descriptors and tags by an LLM: steps B.2 and B.4 of the method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, create_model

from saywell.describers.descriptors.tables import CANDIDATES, TAGS
from saywell.language_models import DryRun, ItemReply, LanguageModel, Prompt, ask_items
from saywell.language_models.structured import tighter
from saywell.progress import increments
from saywell.store.table import UNANSWERED

FIND, TAG = "find_descriptors", "tag_descriptors"
SENTENCES_PER_REQUEST = 20
DESCRIPTORS_PER_REQUEST = 50
MOST_PER_SENTENCE = 5
EXPECTED = 100
"""Descriptors that a dry run reckons with."""
LONGEST = 60
"""Characters of a descriptor; what is longer is a sentence and not a descriptor."""


class FoundDescriptors(BaseModel):
    """What one sentence is about."""

    model_config = ConfigDict(extra="forbid")
    item: int
    descriptors: list[str] = Field(
        max_length=4 * MOST_PER_SENTENCE,
        json_schema_extra=tighter(items={"type": "string", "maxLength": LONGEST}, maxItems=MOST_PER_SENTENCE),
    )


class HoldingDescriptors(BaseModel):
    """Numbers of the listed descriptors that hold of one sentence."""

    model_config = ConfigDict(extra="forbid")
    item: int
    descriptors: list[int]


def _holding(count: int) -> type[HoldingDescriptors]:
    """`HoldingDescriptors` of so many, for which a grammar allows no other number."""
    number = {"type": "integer", "minimum": 1, "maximum": count}
    field = (list[int], Field(json_schema_extra=tighter(items=number, maxItems=count)))
    name, doc = HoldingDescriptors.__name__, HoldingDescriptors.__doc__
    return create_model(name, __base__=HoldingDescriptors, __doc__=doc, descriptors=field)


class Answers(NamedTuple):
    """A table of what was answered, and the table `unanswered` of what was not, and why."""

    table: pl.DataFrame
    unanswered: pl.DataFrame


def ask_candidates(
    llm: LanguageModel,
    texts: Mapping[str, str],
    prompt: Prompt,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda texts: None,
) -> Answers:
    """Table `candidates`: the descriptors that the LLM finds in each text (id -> text)."""
    replies = ask_items(
        llm,
        texts,
        prompt,
        FoundDescriptors,
        step="candidates",
        batch_size=SENTENCES_PER_REQUEST,
        data={"most": MOST_PER_SENTENCE},
        seed=seed,
        progress=increments(progress),
    )
    rows: list[tuple[str, int, str, float]] = []
    for example, reply in replies.items():
        if reply.row is not None:
            for rank, text in enumerate(clean_descriptors(reply.row.descriptors)):
                rows.append((example, rank, text, 1.0))
    return Answers(CANDIDATES.frame(rows), _unanswered("candidates", replies))


def ask_tags(
    llm: LanguageModel,
    texts: Mapping[str, str],
    descriptors: pl.DataFrame,
    prompt: Prompt,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda texts: None,
) -> Answers:
    """Table `tags`: which descriptors the LLM says hold of each text.

    The list is asked in pieces. A text that has no answer for one of the pieces is unanswered as a
    whole: half a tag set would count as errors of the unit.
    """
    names, wordings = descriptors["id"].to_list(), descriptors["text"].to_list()
    said: dict[str, list[str]] = {example: [] for example in texts}
    missing: dict[str, tuple[str, str, str, str, str]] = {}
    for start in range(0, len(names), DESCRIPTORS_PER_REQUEST):
        piece = wordings[start : start + DESCRIPTORS_PER_REQUEST]
        replies = ask_items(
            llm,
            texts,
            prompt,
            _holding(len(piece)),
            step="tags",
            batch_size=SENTENCES_PER_REQUEST,
            data={"descriptors": list(enumerate(piece, start=1))},
            check=partial(_strange, count=len(piece)),
            seed=seed,
            progress=increments(progress),
        )
        for example, reply in replies.items():
            numbers = reply.row.descriptors if reply.row is not None else []
            twice = sorted({n for n in numbers if numbers.count(n) > 1})
            if reply.row is None:
                reason = f"{reply.status}: {reply.error or 'no reason given'}"
                row = ("tags", example, reason, reply.key, reply.status)
                # A piece that can be asked again outlives one that cannot: then ask again.
                if example not in missing or reply.status == "failed":
                    missing[example] = row
            elif twice:
                reason = f"unparsed: descriptor numbers {twice!r} are given more than once"
                missing.setdefault(example, ("tags", example, reason, reply.key, "unparsed"))
            else:
                said[example].extend(names[start + n - 1] for n in numbers)
    rows = [
        (example, name, "llm", 1.0)
        for example, holding in said.items()
        if example not in missing
        for name in holding
    ]
    unanswered = UNANSWERED.frame(list(missing.values())).sort("item")
    return Answers(TAGS.frame(rows).sort("example", "descriptor"), unanswered)


def _strange(rows: Sequence[HoldingDescriptors], count: int) -> str | None:
    """What is wrong with the numbers of an answer about `count` descriptors.

    One number that is not in the list says that the model counts otherwise than it does, and then
    all others mean their neighbours.
    """
    strange = sorted({n for row in rows for n in row.descriptors if not 1 <= n <= count})
    return f"descriptor numbers {strange[:10]!r} are not from the list" if strange else None


def tag_requests(texts: int, descriptors: int) -> int:
    """How many requests tagging takes, for a plan made before the descriptors are known."""
    return -(-texts // SENTENCES_PER_REQUEST) * -(-descriptors // DESCRIPTORS_PER_REQUEST)


def expect_tags(llm: DryRun, texts: Mapping[str, str], prompt: Prompt, *, seed: int = 0) -> None:
    """Count what tagging takes before the descriptors are known, with `EXPECTED` made-up ones."""
    names = [f"a descriptor, {number}" for number in range(EXPECTED)]
    with llm.guessing():
        ask_tags(llm, texts, pl.DataFrame({"id": names, "text": names}), prompt, seed=seed)


def clean_descriptors(said: Sequence[str]) -> list[str]:
    """Lower case, single spaces, no repeats, at most the number that was asked for.

    What cannot be printed is left out: half a surrogate pair, say, fits in no table.
    """
    printable = ("".join(c for c in text if c.isprintable() or c.isspace()) for text in said)
    cleaned = (" ".join(text.lower().split()).strip(" .,;:\"'") for text in printable)
    return list(dict.fromkeys(c for c in cleaned if 0 < len(c) <= LONGEST))[:MOST_PER_SENTENCE]


def _unanswered(step: str, replies: Mapping[str, ItemReply[FoundDescriptors]]) -> pl.DataFrame:
    rows = [
        (step, example, f"{reply.status}: {reply.error or 'no reason given'}", reply.key, reply.status)
        for example, reply in replies.items()
        if reply.row is None
    ]
    return UNANSWERED.frame(rows).sort("item")
