"""Which statements go with a target: the clearest ones, each of which says something else.

A statement that holds of nearly the same items as one before it is left out, and of several that hold of
nearly the same items and go with the target as clearly the one that is said most simply stands for all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float
from scipy import special

from saywell.scorers.intervals import benjamini_hochberg

OVERLAP = 0.7
"""Correlation of two readings from which on they say the same."""
AS_CLEAR = 0.9
"""Part of the clearest one's z that a simpler statement has to have, to stand for it."""
LEAST = 2.0
"""z below which a statement is not worth a test."""
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


def choose(
    z: Float[np.ndarray, "statements outcomes"],
    readings: Float[sp.csr_matrix, "statements items"],
    prices: Float[np.ndarray, " statements"],
    most: int,
    *,
    overlap: float = OVERLAP,
    least: float = LEAST,
) -> list[Choice]:
    """At most so many statements, clearest first.

    `z`: how clearly each goes with each outcome, NaN where that cannot be said. `readings`: 1 where it
    holds of an item; of pairs 1, 0 or -1. `prices`: what each costs to say. Of equals the earlier statement
    is taken.
    """
    outcome = np.argmax(np.nan_to_num(np.abs(z), nan=-1.0), axis=1)
    own = z[np.arange(len(z)), outcome]
    clear = np.nan_to_num(np.abs(own))
    items = readings.shape[1]
    means = np.asarray(readings.mean(1)).ravel()
    squares = np.asarray(readings.multiply(readings).mean(1)).ravel()
    spreads = np.sqrt(np.maximum(squares - means**2, 0))
    said = np.asarray((readings != 0).sum(1)).ravel()
    able = (clear >= least) & (spreads > 0) & (np.minimum(said, items - said) >= FEWEST_ITEMS)
    q = benjamini_hochberg(np.minimum(2 * special.ndtr(-clear) * z.shape[1], 1))
    found: list[Choice] = []
    while len(found) < most and able.any():
        first = int(np.argmax(np.where(able, clear, -1)))
        if len(found) >= FEWEST_TESTS and q[first] > PROMISING:
            break
        alike = _alike(first, readings, means, spreads, items)
        same = able & (np.abs(alike) >= overlap) & (clear >= AS_CLEAR * clear[first])
        same &= outcome == outcome[first]
        simplest = int(np.lexsort((-clear, prices, ~same))[0])
        found.append(Choice(simplest, int(outcome[simplest]), float(own[simplest])))
        able &= np.abs(alike) < overlap
        if simplest != first:
            able &= np.abs(_alike(simplest, readings, means, spreads, items)) < overlap
    return found


def _alike(
    one: int,
    readings: Float[sp.csr_matrix, "statements items"],
    means: Float[np.ndarray, " statements"],
    spreads: Float[np.ndarray, " statements"],
    items: int,
) -> Float[np.ndarray, " statements"]:
    """Correlation of one reading with each; 0 with one that does not vary."""
    row = np.zeros(items, dtype=readings.dtype)
    part = slice(readings.indptr[one], readings.indptr[one + 1])
    row[readings.indices[part]] = readings.data[part]
    together = readings @ row / items - means * means[one]
    varying: Bool[np.ndarray, " statements"] = spreads > 0
    return np.where(varying, together / np.where(varying, spreads * max(spreads[one], 1e-12), 1), 0)
