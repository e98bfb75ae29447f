"""Texts that speak for and against each hypothesis: drawn by chance from score texts, its words marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.examples import Examples
from saywell.data.parts import SCORE
from saywell.data.splits import hash_numbers
from saywell.description import Description
from saywell.readers.claims import ClaimReader
from saywell.resources import Resources
from saywell.scorers.outcomes import Outcome
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.tables import EVIDENCE

_Span = tuple[int | None, int | None]
MOST = {"for": 3, "against": 2}
"""Texts of each side."""
_LONG = 400
"""Characters up to which a text is read at a glance; longer ones come after those."""


class _Held(NamedTuple):
    """The score items of which a hypothesis holds, by the text of which it does (of a pair of one alone)."""

    items: np.ndarray
    examples: np.ndarray
    others: np.ndarray | None
    values: np.ndarray
    """Of a pair as seen from that text."""
    margins: np.ndarray
    """How far the outcome lies on the side that the hypothesis says; below 0 on the other."""
    clear: float
    """From how far on a reader sees it."""


def evidence(
    asked: Asked,
    tested: pl.DataFrame,
    readings: Float[np.ndarray, "tested examples"],
    resources: Resources,
    *,
    pointing: bool = True,
) -> pl.DataFrame:
    """Table EVIDENCE of hypotheses (rows of HYPOTHESES) with what was read of every example (1, 0, NaN).

    A text goes the way a hypothesis says where its outcome lies on that side of the mean of score items of
    which it does not hold; the favoured one of a pair where it is the one of which it holds. Texts that were
    not shown yet come first, then those that lie half a standard deviation off, then short ones, then those
    with the smallest hash. Spans are null without `pointing`, which reads claims once more.
    """
    outcomes = {outcome.name: outcome for outcome in asked.outcomes}
    ids, lengths = asked.examples.ids, asked.examples.table["text"].str.len_chars().to_numpy()
    used: set[int] = set()
    rows: list[_Row] = []
    for row, reading in zip(tested.iter_rows(named=True), readings, strict=True):
        held = _held(asked, outcomes[row["outcome"]], row["direction"], reading)
        keys = hash_numbers((ids[n] for n in held.examples), resources.seed, f"evidence of {row['text']}")
        seen = np.isin(held.examples, list(used))
        unclear = np.abs(held.margins) < held.clear
        order = np.lexsort((keys, lengths[held.examples] > _LONG, unclear, seen))
        # Items that share a text, or that differ in nothing but their outcome, show it once.
        order = order[np.sort(np.unique(held.examples[order], return_index=True)[1])]
        for side, sign in (("for", 1), ("against", -1)):
            chosen = order[(sign * held.margins > 0)[order]][: MOST[side]]
            used.update(held.examples[chosen].tolist())
            for rank, one in enumerate(chosen):
                other = None if held.others is None else int(held.others[one])
                item = int(asked.items.rows[held.items[one]])
                rows.append(
                    _Row(row, side, rank, item, int(held.examples[one]), other, float(held.values[one]))
                )
    return _table(asked.examples, rows, resources if pointing else None)


class _Row(NamedTuple):
    hypothesis: dict[str, Any]
    side: str
    rank: int
    item: int
    place: int
    other: int | None
    value: float


def _held(asked: Asked, outcome: Outcome, direction: int, reading: Float[np.ndarray, " examples"]) -> _Held:
    items, score = asked.items, asked.items.of(SCORE)
    read = items.read(reading[None])[0]
    clear = float(np.nanstd(outcome.values[score])) / 2
    score = score[outcome.known[score] & ~np.isnan(read[score])]
    here = score[read[score] != 0]
    values, first = outcome.values[here], items.first[here]
    if items.second is None:
        others = outcome.values[score[read[score] == 0]]
        middle = others.mean() if len(others) else 0.0
        return _Held(here, first, None, values, direction * (values - middle), clear)
    second, ahead = items.second[here], read[here] > 0
    middle = 0.5 if outcome.kind == "binary" else 0.0
    values = np.where(ahead, values, 2 * middle - values)
    texts, others = np.where(ahead, first, second), np.where(ahead, second, first)
    return _Held(here, texts, others, values, direction * (values - middle), clear)


def _table(examples: Examples, rows: Sequence[_Row], resources: Resources | None) -> pl.DataFrame:
    ids = examples.ids
    places = sorted({row.place for row in rows})
    shown = replace(examples, table=examples.table[places], tags=None, whole=examples.whole or examples)
    points = (lambda *_: (None, None)) if resources is None else _pointing(shown, resources)
    at = {place: number for number, place in enumerate(places)}
    found = []
    for said, side, rank, item, place, other, value in rows:
        span = points(said["text"], said["claim"], at[place])
        whose = None if other is None else ids[other]
        found.append((said["hypothesis"], side, rank, str(item), ids[place], whose, value, *span))
    return EVIDENCE.frame(found)


def _pointing(shown: Examples, resources: Resources) -> Callable[[str, str | None, int], _Span]:
    """The first run of words that a claim points at in an example, in characters."""
    point = ClaimReader().pointing(shown, resources)

    def first(text: str, claim: str | None, place: int) -> _Span:
        spans = point(Description("", text, claim=claim), place) if claim else None
        if not spans:
            return None, None
        (start, end), words = spans[0], shown.texts[place]
        for more, until in spans[1:]:
            if words[end:more].strip():
                break
            end = until
        return start, end

    return first
