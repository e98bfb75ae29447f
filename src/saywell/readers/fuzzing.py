"""A reader that asks a language model whether the right words of an example are marked.

Detection asks *whether* a unit responds; this asks *where*. Half of the examples are shown with the
words that made the unit respond, the other half with as many other words of the same example, and
the reader has to tell which is which (after the fuzzing score of Paulo et al. 2024, arXiv 2410.13928).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from saywell.data.examples import Examples, Kind
from saywell.data.splits import content_ids, hash_numbers
from saywell.data.words import chunk_spans
from saywell.errors import InputError
from saywell.readers.detection import DetectionReader

CHECK, CHECK_ONE, FUZZING = "check_marks", "check_mark", "fuzzing"
OPEN, CLOSE = "⟪", "⟫"


class Marks(NamedTuple):
    """What is marked in each example, in characters, end exclusive; -1 where nothing can be."""

    spans: Int64[np.ndarray, "examples 2"]
    right: Bool[np.ndarray, " examples"]
    """Whether the mark is on the words that made the unit respond: what the reader should say."""


@dataclass(frozen=True)
class FuzzingReader(DetectionReader):
    """How sure a language model is that the marked words of an example are those described (0 to 1).

    It is not asked whether a unit fires but whether the marks are right: see `trial`, which marks
    examples for it.
    """

    name: str = FUZZING
    reads: tuple[Kind, ...] = ("text",)
    prompt: str = CHECK
    prompt_of_one: str = CHECK_ONE

    def trial(self, exemplars: pl.DataFrame, examples: Examples, seed: int) -> Examples:
        """As in `AsksElse`: each exemplar with a mark, `fires` where it is on the words that set it off.

        An exemplar without a span, or without room for as many other words, is left out.
        """
        place = {id: row for row, id in enumerate(examples.ids)}
        shown = exemplars.filter(pl.col("span_start") >= 0).sort("unit", "example")
        rows = np.array([place[id] for id in shown["example"]], dtype=np.int64)
        texts = [examples.texts[row] for row in rows]
        spans = shown.select("span_start", "span_end").to_numpy().astype(np.int64).reshape(-1, 2)
        marks = make_marks(texts, spans, seed=seed)
        marked = [
            show(text, *span) if span[0] >= 0 else ""
            for text, span in zip(texts, marks.spans.tolist(), strict=True)
        ]
        table = examples.table[rows].with_columns(
            (shown["unit"] + ":" + shown["example"]).alias("id"),
            pl.Series("text", marked, dtype=pl.String),
            shown["unit"].alias("unit"),
            pl.Series("fires", marks.right),
        )
        kept = table.filter(pl.Series(marks.spans[:, 0] >= 0))
        return replace(examples, table=kept, tags=None, fingerprint=f"{examples.fingerprint}, marked")


def make_marks(texts: Sequence[str], spans: Int64[np.ndarray, "examples 2"], *, seed: int = 0) -> Marks:
    """Marks on the given spans, in about half of the examples moved to other words.

    `spans` are in characters, end exclusive, (-1, -1) where there is none. Which examples get a wrong
    mark, and where, depends on text and seed alone. A text without room for as many other words
    gets none: shown only with its right mark, it would give the answer away.

    Raises InputError for a span outside its text.
    """
    numbers = hash_numbers(content_ids(texts), seed, "fuzzing")
    marked = np.full((len(texts), 2), -1, dtype=np.int64)
    right = np.zeros(len(texts), dtype=bool)
    for row, (text, number) in enumerate(zip(texts, numbers.tolist(), strict=True)):
        start, stop = (int(place) for place in spans[row])
        if start < 0:
            continue
        if not start < stop <= len(text):
            raise InputError(
                f"span {(start, stop)!r} of example {row} is outside its text of {len(text)} characters"
            )
        others = _elsewhere(text, start, stop)
        if not others:
            continue
        right[row] = number % 2 == 0
        marked[row] = (start, stop) if right[row] else others[(number >> 1) % len(others)]
    return Marks(marked, right)


def show(text: str, start: int, stop: int) -> str:
    """The text with its mark; characters of its own that look like one are taken out."""
    before, inside, after = (
        piece.replace(OPEN, "").replace(CLOSE, "") for piece in (text[:start], text[start:stop], text[stop:])
    )
    return f"{before}{OPEN}{inside}{CLOSE}{after}"


def _elsewhere(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Every run of as many words as the span touches, clear of the span."""
    found = chunk_spans(text)
    touched = sum(begin < stop and end > start for begin, end in found)
    if touched == 0:
        return []
    runs = zip(found, found[touched - 1 :], strict=False)
    return [(first[0], last[1]) for first, last in runs if last[1] <= start or first[0] >= stop]
