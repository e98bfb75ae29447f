"""What an LLM is shown of a unit whose activation is known at every token: texts with the token marked.

The strongest exemplars, others over the whole range of its activation, and near misses: texts with the same
words, at which it does not fire.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from saywell.claims.corpus import Corpus
from saywell.claims.fired import words_at
from saywell.data.splits import hash_numbers
from saywell.describers.describer import Evidence
from saywell.readers.fuzzing import CLOSE, OPEN, show

STRONGEST, WEAKER, NEAR = 12, 8, 6
"""Texts of each kind."""
AROUND = 160
"""Letters on either side of what is marked."""


class Marked(NamedTuple):
    """Texts with a mark, the strongest first; in `near` ones it is on a word at which the unit is silent."""

    strongest: list[str]
    weaker: list[str]
    near: list[str]
    rows: Int[np.ndarray, " strongest"]
    """Which examples the strongest are."""


def marked_texts(evidence: Evidence) -> Iterator[Marked]:
    """Of each unit, in their order."""
    texts = evidence.examples.texts
    corpus = Corpus.of(texts)
    chance = hash_numbers(evidence.examples.ids, evidence.seed, "near misses")
    by_form = np.argsort(corpus.form, kind="stable")
    first = np.searchsorted(corpus.form[by_form], np.arange(len(corpus.forms) + 1))

    def near(fired: np.ndarray, peaks: np.ndarray) -> Iterator[str]:
        """At the words that peak most often, in texts in which the unit does not fire."""
        forms, counts = np.unique(corpus.form[peaks[peaks >= 0]], return_counts=True)
        for form in forms[np.argsort(-counts, kind="stable")].tolist():
            tokens = by_form[first[form] : first[form + 1]]
            tokens = tokens[~np.isin(corpus.text[tokens], fired)]
            _, once = np.unique(corpus.text[tokens], return_index=True)
            tokens = tokens[once]
            for token in tokens[np.argsort(chance[corpus.text[tokens]], kind="stable")].tolist():
                yield excerpt(texts[corpus.text[token]], int(corpus.start[token]), int(corpus.end[token]))

    for unit in evidence.ids:
        found = evidence.activations.fired(unit)
        spans = evidence.activations.spans(found)
        order = np.lexsort((found.positions, found.rows, -found.values))
        _, peak = np.unique(found.rows[order], return_index=True)
        peak = order[np.sort(peak)]  # of each text its strongest token, the strongest text first
        strongest, rest = peak[:STRONGEST], peak[STRONGEST:]
        spread = np.linspace(0, len(rest) - 1, min(WEAKER, len(rest))).round().astype(np.int64)
        weaker = rest[spread]
        shown = [
            [excerpt(texts[found.rows[n]], *map(int, spans[n])) for n in some] for some in (strongest, weaker)
        ]
        at = words_at(corpus, found.rows[strongest], spans[strongest])
        misses = [text for text, _ in zip(near(np.unique(found.rows), at), range(NEAR), strict=False)]
        yield Marked(shown[0], shown[1], misses, found.rows[strongest])


def excerpt(text: str, start: int, end: int) -> str:
    """What is around a span, which is marked; marks of the text's own are taken out."""
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    said = show(text[first:last], start - first, end - first)
    return f"{'…' * (first > 0)}{said}{'…' * (last < len(text))}"


def unmarked(text: str) -> str:
    """A text without marks, its own ones taken out, cut where it is long."""
    said = text.replace(OPEN, "").replace(CLOSE, "")
    return said if len(said) <= 2 * AROUND else f"{said[: 2 * AROUND]}…"
