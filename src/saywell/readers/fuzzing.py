"""A reader that asks a language model whether the right words of an example are marked.

Detection asks *whether* a unit responds; this asks *where*. Half of the examples are shown with the
words that made the unit respond, the other half with as many other words of the same example, and
the reader has to tell which is which (after the fuzzing score of Paulo et al. 2024, arXiv 2410.13928).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.splits import content_ids, hash_numbers
from saywell.data.words import chunk_spans
from saywell.errors import InputError
from saywell.language_models import LanguageModel, Prompt, load_prompt
from saywell.readers.asking import Unanswered
from saywell.readers.detection import EXAMPLES_PER_REQUEST, ask_verdicts

CHECK = "check_marks"
OPEN, CLOSE = "⟪", "⟫"


class Marks(NamedTuple):
    """What is marked in each example, in characters, end exclusive; -1 where nothing can be."""

    spans: Int64[np.ndarray, "examples 2"]
    right: Bool[np.ndarray, " examples"]
    """Whether the mark is on the words that made the unit respond: what the reader should say."""


class FuzzingReader:
    """How sure a language model is that the marked words are those described (0 to 1).

    Opened for one unit, whose marks it shows: compare its numbers with `marks.right` and not with
    whether the unit fires. NaN where nothing is marked or nothing was answered; the latter adds a
    row to `unanswered`.
    """

    name = "fuzzing"
    version = 1

    def __init__(
        self,
        llm: LanguageModel,
        texts: Sequence[str],
        marks: Marks,
        *,
        prompt: Prompt | None = None,
        batch_size: int = EXAMPLES_PER_REQUEST,
        seed: int = 0,
    ) -> None:
        self._llm, self._texts, self._batch_size, self._seed = llm, texts, batch_size, seed
        self.marks = marks
        self._prompt = prompt or load_prompt(CHECK)
        self.unanswered: list[Unanswered] = []

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`."""
        for description, asked in zip(descriptions, rows, strict=True):
            shown = {
                int(row): show(self._texts[int(row)], *self.marks.spans[row].tolist())
                for row in asked
                if self.marks.spans[row, 0] >= 0
            }
            degrees, missing = ask_verdicts(
                self._llm,
                description,
                shown,
                self._prompt,
                step="fuzzing",
                batch_size=self._batch_size,
                seed=self._seed,
            )
            self.unanswered += missing
            yield np.array([degrees.get(int(row), np.nan) for row in asked])


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
