"""Which statements go with a target: first those that each add something, then the clearest of the others.

The first pass goes by what those before leave unexplained (orthogonal matching pursuit: Pati, Rezaiifar and
Krishnaprasad 1993), so that a statement that mixes two things is not followed by ten that mix them otherwise.
What it leaves out may be as true: of two that say the same of the target in different words it needs one.
So the second pass goes by how clearly a statement goes with the target, whatever else does.

In both a statement that holds of nearly the same items as one before it is left out, and of several that hold
of nearly the same items and are as clear the one that is said most simply stands for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy import special

from saywell.scorers.intervals import benjamini_hochberg

OVERLAP = 0.7
"""Correlation of two readings from which on they say the same."""
AS_CLEAR = 0.9
"""Part of the clearest one's z that a simpler statement has to have, to stand for it."""
LEAST = 2.0
"""z below which a statement is not worth a test, or adds nothing."""
FEWEST_TESTS, PROMISING = 10, 0.5
"""Tests that are made at least; and the false discovery rate, among all statements where they are chosen, up
to which more are: each further test makes the others harder to pass, so it has to be as likely as not."""
FEWEST_ITEMS = 10
"""Items of which a statement has to say something, and items of which it may not."""


class Choice(NamedTuple):
    """A statement, the outcome that it goes with most, and how clearly; the sign of z is the direction."""

    statement: int
    outcome: int
    z: float


@dataclass(frozen=True)
class Statements:
    """What may be chosen. Of equals the earlier statement is taken.

    `readings`: 1 where it holds of an item; of pairs 1, 0 or -1. `prices`: what each costs to say. `said`: a
    number for each, the same for those in the same words; at most one of these is chosen.
    """

    readings: Float[sp.csr_matrix, "statements items"]
    prices: Float[np.ndarray, " statements"]
    said: Int[np.ndarray, " statements"]

    @cached_property
    def means(self) -> Float[np.ndarray, " statements"]:
        """Of the readings of each."""
        return np.asarray(self.readings.mean(1)).ravel()

    @cached_property
    def spreads(self) -> Float[np.ndarray, " statements"]:
        """Standard deviations of the readings of each."""
        squares = np.asarray(self.readings.multiply(self.readings).mean(1)).ravel()
        return np.sqrt(np.maximum(squares - self.means**2, 0))

    @cached_property
    def telling(self) -> Bool[np.ndarray, " statements"]:
        """Which vary, and say something of enough items."""
        items = self.readings.shape[1]
        some = np.asarray((self.readings != 0).sum(1)).ravel()
        return (self.spreads > 0) & (np.minimum(some, items - some) >= FEWEST_ITEMS)

    def row(self, one: int) -> Float[np.ndarray, " items"]:
        """The readings of one, less their mean."""
        return self.readings[one].toarray()[0] - self.means[one]

    def with_values(
        self, values: Float[np.ndarray, "outcomes items"]
    ) -> Float[np.ndarray, "statements outcomes"]:
        """Correlation of each with some values of the items; 0 of what does not vary."""
        centred = values - values.mean(1, keepdims=True)
        together = self.readings @ centred.T / self.readings.shape[1]
        scale = np.outer(np.where(self.spreads > 0, self.spreads, np.inf), centred.std(1) + 1e-12)
        return together / scale

    def apart(self, one: int, overlap: float) -> Bool[np.ndarray, " statements"]:
        """Which say something else than one of them, in other words."""
        return (np.abs(self.with_values(self.row(one)[None])[:, 0]) < overlap) & (self.said != self.said[one])


def choose(
    z: Float[np.ndarray, "statements outcomes"],
    residuals: Float[np.ndarray, "outcomes items"],
    statements: Statements,
    most: int,
    *,
    overlap: float = OVERLAP,
) -> list[Choice]:
    """At most so many statements, each with the outcome that it goes with most.

    `z`: how clearly each goes with each outcome, NaN where that cannot be said. `residuals`: what of each
    outcome is to be explained, 0 of items of which it is not known.
    """
    z = np.where(statements.telling[:, None], np.nan_to_num(z), 0.0)
    clear = np.abs(z).max(1, initial=0)
    p = np.minimum(2 * special.ndtr(-clear) * z.shape[1], 1)
    promising = (clear >= LEAST) & (benjamini_hochberg(p) <= PROMISING)
    chosen, left = _adding(z, residuals, statements, promising, most, overlap)
    more, left = _clearest(z, statements, left, most - len(chosen), overlap)
    chosen += more
    if len(chosen) < min(most, FEWEST_TESTS):
        able = clear >= LEAST
        for one in chosen:
            able &= statements.apart(one.statement, overlap)
        chosen += _clearest(z, statements, able, min(most, FEWEST_TESTS) - len(chosen), overlap)[0]
    return sorted(chosen, key=lambda one: (-abs(one.z), one.statement))


def _adding(
    z: Float[np.ndarray, "statements outcomes"],
    residuals: Float[np.ndarray, "outcomes items"],
    statements: Statements,
    able: Bool[np.ndarray, " statements"],
    most: int,
    overlap: float,
) -> tuple[list[Choice], Bool[np.ndarray, " statements"]]:
    """Statements that explain what those before leave, and which are left.

    Only the way that a statement goes by itself: what goes another way once others are held equal is for who
    knows what to hold equal.
    """
    found: list[Choice] = []
    left = residuals - residuals.mean(1, keepdims=True)
    basis: list[np.ndarray] = []
    root = np.sqrt(left.shape[1])
    while len(found) < most and able.any():
        adds = statements.with_values(left) * root
        score = np.where(
            able[:, None] & (np.sign(adds) == np.sign(z)) & (np.abs(z) >= LEAST), np.abs(adds), 0
        )
        first, outcome = (int(n) for n in np.unravel_index(int(score.argmax()), score.shape))
        if score[first, outcome] < LEAST:
            break
        simplest, able = _stand_in(first, score[:, outcome], statements, able, overlap)
        found.append(Choice(simplest, outcome, float(z[simplest, outcome])))
        new = statements.row(simplest)
        for old in basis:
            new = new - (new @ old) * old
        length = np.linalg.norm(new)
        if length > 1e-6 * root:
            basis.append(new / length)
            left = left - np.outer(left @ basis[-1], basis[-1])
    return found, able


def _clearest(
    z: Float[np.ndarray, "statements outcomes"],
    statements: Statements,
    able: Bool[np.ndarray, " statements"],
    most: int,
    overlap: float,
) -> tuple[list[Choice], Bool[np.ndarray, " statements"]]:
    """Statements by how clearly they go with an outcome, and which are left."""
    found: list[Choice] = []
    outcomes = np.abs(z).argmax(1)
    clear = np.abs(z).max(1, initial=0)
    while len(found) < most and able.any():
        first = int(np.argmax(np.where(able, clear, -1)))
        outcome = int(outcomes[first])
        score = np.where(outcomes == outcome, clear, 0)
        simplest, able = _stand_in(first, score, statements, able, overlap)
        found.append(Choice(simplest, outcome, float(z[simplest, outcome])))
    return found, able


def _stand_in(
    first: int,
    score: Float[np.ndarray, " statements"],
    statements: Statements,
    able: Bool[np.ndarray, " statements"],
    overlap: float,
) -> tuple[int, Bool[np.ndarray, " statements"]]:
    """The simplest statement that says as much as one does, and which say something else than both."""
    apart = statements.apart(first, overlap)
    same = able & ~apart & (score >= AS_CLEAR * score[first])
    simplest = int(np.lexsort((-score, statements.prices, ~same))[0])
    able = able & apart & statements.apart(simplest, overlap)
    return simplest, able
