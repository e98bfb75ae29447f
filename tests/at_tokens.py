"""Activations at tokens that fit in memory, of a model whose tokens are pieces of at most three letters."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl

from saywell.data.parts import DescribeRows
from saywell.data.splits import content_ids
from saywell.describers.describer import Evidence
from saywell.units.activations import Activations
from saywell.units.exemplars import contrast_table, exemplar_table
from saywell.units.firing import Above
from saywell.units.responses import Fired, InMemory, order_of
from saywell.units.statistics import source_units, unit_table
from saywell.units.strongest import Exemplars
from saywell.units.tokens import Tokens


def pieces(text):
    """Every word with the space before it, in pieces."""
    found = []
    for match in re.finditer(r" ?\S+", text):
        found += [(at, min(at + 3, match.end())) for at in range(*match.span(), 3)]
    return found


class TokensInMemory:
    """As `saywell.units.token_activations.TokenActivations`, of values [units, tokens]."""

    def __init__(self, texts, values, number):
        self.spans = [pieces(text) for text in texts]
        lengths = [len(own) for own in self.spans]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.array([span for own in self.spans for span in own], dtype=np.int32)
        every = np.ones(len(flat), dtype=bool)
        said = [text[a:b] for text, own in zip(texts, self.spans, strict=True) for a, b in own]
        known: dict = {}
        ids = np.array([known.setdefault(number(one), len(known)) for one in said], dtype=np.int32)
        self.tokens = Tokens(ids, every, flat, starts, 0)
        self.values = np.asarray(values, dtype=np.float32)
        best = [self.values[:, a:b] for a, b in pairwise(starts)]
        self.at = np.stack([own.argmax(1) for own in best])
        self.whole = InMemory(np.stack([own.max(1) for own in best]), order_of(content_ids(texts)))

    examples = property(lambda self: self.whole.examples)
    width = property(lambda self: self.whole.width)

    def pieces(self, rows):
        return self.whole.pieces(rows)

    def read(self, rows, places, sign=1):
        return self.whole.read(rows, places, sign)

    def top(self, rows, m, sign=1):
        import torch

        found = self.whole.top(rows, m, sign)
        rows = np.maximum(found.examples.numpy(), 0)
        at = np.take_along_axis(self.at.T, rows, 1)
        return Exemplars(found.values, found.examples, torch.from_numpy(at.astype(np.int32)))

    def fired(self, place, rows=None, sign=1):
        (token,) = (self.values[place] > 0).nonzero()
        row = np.searchsorted(self.tokens.starts, token, side="right") - 1
        kept = np.ones(len(row), dtype=bool) if rows is None else np.isin(row, rows)
        return Fired(row[kept], (token - self.tokens.starts[row])[kept], self.values[place][token][kept])

    def locate(self, places, examples, positions):
        spans = self.tokens.spans[self.tokens.starts[examples] + positions].astype(np.int32)
        return pl.DataFrame({"span_start": spans[:, 0], "span_end": spans[:, 1]})


def evidence_at_tokens(examples, rules, seed=0, number=str):
    """Units that fire at the last piece of words of which a rule holds, by text and words before and at.

    Pieces are one token where `number` makes the same of them.
    """
    values = [[] for _ in rules]
    for text in examples.texts:
        for start, end in pieces(text):
            last = end == len(text) or text[end] == " "
            said = text[:end].split()
            for own, rule in zip(values, rules, strict=True):
                holds = last and rule(said[-1], said[-2] if len(said) > 1 else "")
                own.append(1 + (start % 7) / 7 if holds else 0)
    stored = TokensInMemory(examples.texts, values, number)
    every = DescribeRows(np.arange(len(examples)))
    units = unit_table(source_units([f"u{n}" for n in range(len(rules))], "made"), stored, Above(0), every)
    activations = Activations(stored, units, Above(0))
    exemplars = exemplar_table(activations, examples.ids, {"describe": every}, 50, stored.locate)
    contrasts = contrast_table(activations, examples.ids, every, seed)
    return Evidence(units, examples, activations, exemplars, contrasts, seed)


def without_places(evidence):
    """The same where nobody knows where in an example its units respond."""
    nothing = pl.lit(None, dtype=pl.Int32)
    return replace(evidence, exemplars=evidence.exemplars.with_columns(span_start=nothing, span_end=nothing))
