"""Does a description point at what made a unit respond, and not at any word of the text?

A description can be true of the texts on which a unit fires and be about another of their words. So where it
is known which part of a text is responsible, what a reader points at is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from saywell.data.examples import Examples
from saywell.data.parts import SCORE
from saywell.data.words import chunk_spans
from saywell.readers.reader import Pointing, Spans
from saywell.scorers.floors import Described
from saywell.scorers.intervals import wilson_interval

LEAST = 0.5
"""Share of responsible spans that a description points at, at least."""
COLUMNS = {
    "localised": pl.Float64,
    "localised_low": pl.Float64,
    "localised_high": pl.Float64,
    "localised_n": pl.Int64,
    "by_chance": pl.Float64,
}


_EXEMPLARS = {
    "unit": pl.String,
    "part": pl.String,
    "example": pl.String,
    "span_start": pl.Int32,
    "span_end": pl.Int32,
}


class Localised(NamedTuple):
    """Of `n` texts the share whose responsible span is pointed at, with Wilson's 95 % interval.

    `by_chance` is the mean share of a text's words that are pointed at: what a span on any word comes to.
    """

    share: float
    low: float
    high: float
    n: int
    by_chance: float


def localisation(spans: Spans, pointed: Sequence[Spans], words: Sequence[Spans]) -> Localised:
    """Of several texts: the responsible span of each, what is pointed at in it, and its words."""
    found = [overlaps([span], there)[0] for span, there in zip(spans, pointed, strict=True)]
    shares = [
        overlaps(own, there).mean() if len(own) else 0.0 for own, there in zip(words, pointed, strict=True)
    ]
    by_chance = float(np.mean(shares)) if shares else np.nan
    return Localised(*wilson_interval(int(sum(found)), len(found)), by_chance)


def overlaps(spans: Spans, others: Spans) -> Bool[np.ndarray, " spans"]:
    """Which of the spans share a character with any of the others."""
    mine, theirs = _array(spans), _array(others)
    theirs = theirs[theirs[:, 1] > theirs[:, 0]]
    if not len(theirs):
        return np.zeros(len(mine), dtype=bool)
    theirs = theirs[np.argsort(theirs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(theirs[:, 1])
    # Of those that begin before a span ends, the one that reaches furthest.
    before = np.searchsorted(theirs[:, 0], mine[:, 1], side="left")
    return (before > 0) & (reach[np.maximum(before - 1, 0)] > mine[:, 0]) & (mine[:, 1] > mine[:, 0])


def _array(spans: Spans) -> Int64[np.ndarray, "spans 2"]:
    return np.array(list(spans), dtype=np.int64).reshape(-1, 2)


class Responsible:
    """Of each unit the score texts on which it fires most, and the span of each that is responsible."""

    def __init__(self, exemplars: pl.DataFrame | None, examples: Examples) -> None:
        """`exemplars`: unit, part, example, span_start, span_end; None where no span is known."""
        if exemplars is None:
            exemplars = pl.DataFrame(schema=_EXEMPLARS)
        known = exemplars.filter(pl.col("part") == SCORE, pl.col("span_end") > pl.col("span_start"))
        self._texts = examples.texts if known.height else []
        place = {id: row for row, id in enumerate(examples.ids)} if known.height else {}
        self._of: dict[str, list[tuple[int, tuple[int, int]]]] = {}
        for unit, example, start, end in known.select(
            "unit", "example", "span_start", "span_end"
        ).iter_rows():
            self._of.setdefault(unit, []).append((place[example], (start, end)))
        self._words: dict[int, Spans] = {}

    @property
    def units(self) -> frozenset[str]:
        """Those of which any span is known."""
        return frozenset(self._of)

    def localised(self, described: Described, pointing: Mapping[str, Pointing]) -> pl.DataFrame:
        """By description and reader how far it points at them; no row where nothing is pointed at at all."""
        rows = [
            (id, reader, *found)
            for reader, point in pointing.items()
            for id, own in zip(described.ids, described.descriptions, strict=True)
            if (texts := self._of.get(own.unit))
            and (found := self._found(texts, [point(own, row) for row, _ in texts]))
        ]
        schema = {"description": pl.String, "reader": pl.String, **COLUMNS}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _found(
        self, texts: Sequence[tuple[int, tuple[int, int]]], pointed: Sequence[Spans | None]
    ) -> Localised | None:
        told = [spans for spans in pointed if spans is not None]
        if len(told) < len(texts):
            return None
        for row, _ in texts:
            if row not in self._words:
                self._words[row] = chunk_spans(self._texts[row])
        return localisation([span for _, span in texts], told, [self._words[row] for row, _ in texts])
