"""What units do at the tokens of some examples, as one sparse matrix: for comparing units with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Int

from saywell.units.activations import Activations
from saywell.units.firing import OK
from saywell.units.responses import RowNumbers
from saywell.units.token_activations import TokenActivations
from saywell.units.tokens import Tokens

_TOGETHER = 1024
"""Units that are read at once."""


class TokenMatrix(NamedTuple):
    """Activations above 0, tokens x units; special tokens are none of the tokens.

    Of units of whole examples (a sentence's vector) an example is one token, at position 0.
    """

    activations: sp.csr_matrix
    rows: Int[np.ndarray, " tokens"]
    """The example of each token, by its number."""
    positions: Int[np.ndarray, " tokens"]
    """Its place in the example, as the model reads it."""


def token_matrix(activations: Activations, rows: RowNumbers) -> TokenMatrix:
    """All units at the tokens of some examples, none of them twice."""
    kept, units = activations.responses, activations.units
    if not isinstance(kept, TokenActivations):
        values = np.maximum(np.nan_to_num(activations.of(units["id"].to_list(), rows)), 0)
        return TokenMatrix(sp.csr_matrix(values.T), rows, np.zeros(len(rows), dtype=np.int64))
    found = list(_cells(kept, units, rows))
    at, positions, values, columns = (np.concatenate(each) for each in zip(*found, strict=True))
    if kept.tokens is None:  # pictures have the same places, all of which count
        sizes = np.full(len(rows), int(positions.max(initial=-1)) + 1)
        content = np.ones(int(sizes.sum()), dtype=bool)
    else:
        sizes, content = kept.tokens.lengths[rows], _content(kept.tokens, rows)
    starts = np.cumsum(sizes) - sizes
    line = np.zeros(int(rows.max(initial=-1)) + 1, dtype=np.int64)
    line[rows] = np.arange(len(rows))
    number = np.cumsum(content) - 1  # of a token among those with content
    cells = (number[starts[line[at]] + positions], columns)
    matrix = sp.csr_matrix((values, cells), shape=(int(content.sum()), units.height))
    place = np.arange(len(content)) - np.repeat(starts, sizes)
    return TokenMatrix(matrix, np.repeat(rows, sizes)[content], place[content])


def _cells(kept: TokenActivations, units: pl.DataFrame, rows: RowNumbers) -> Iterator[tuple[np.ndarray, ...]]:
    """Example, position, value and column of all that fires."""
    able, signs = (units["state"] == OK).to_numpy(), units["sign"].fill_null(1).to_numpy()
    places = units["place"].to_numpy()
    yield (*(np.zeros(0, dtype=kind) for kind in (np.int64, np.int64, np.float32, np.int64)),)
    for sign in np.unique(signs[able]).tolist():
        mine = np.flatnonzero(able & (signs == sign))
        for start in range(0, len(mine), _TOGETHER):
            some = mine[start : start + _TOGETHER]
            for unit, fired in zip(some, kept.fired_each(places[some].tolist(), rows, sign), strict=True):
                yield (*fired, np.full(len(fired.rows), unit))


def _content(tokens: Tokens, rows: RowNumbers) -> Bool[np.ndarray, " tokens"]:
    pieces = [tokens.content[tokens.starts[row] : tokens.starts[row + 1]] for row in rows.tolist()]
    return np.concatenate([np.zeros(0, dtype=bool), *pieces])
