"""The same latent in another layer, seed or model: two dictionaries' latents, matched one to one.

By what they do: the correlation of their activations over the same text, piece by piece, where tokenisers
differ over the pieces at whose end both have a token's end. By where they point: the cosine of their decoder
directions, where these are of one space. Pairs are chosen so that the sum is greatest (linear assignment, as
Li et al. 2016, arXiv:1511.07543, match neurons and Paulo and Belrose 2025, arXiv:2501.16615, latents).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from saywell.units.relations import FEWEST, unit_rows

CANDIDATES = 32
"""Partners of a latent that are considered: those that are likest to it."""
_CELLS = 1 << 24


class Matched(NamedTuple):
    """Pairs, each latent in one at most, by the first."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    alike: Float[np.ndarray, " pairs"]


def aligned(
    first: Int[np.ndarray, "tokens 2"], second: Int[np.ndarray, "others 2"]
) -> tuple[Int[np.ndarray, " tokens"], Int[np.ndarray, " others"], int]:
    """The piece of a text that each token of two tokenisers is in, by its number, and how many there are.

    Spans are characters of the text, end exclusive. A piece ends where both have a token's end, and begins
    where the one before it ended. Tokens after the last such place, as of a text that one of them cut, are in
    none: -1.
    """
    ends = np.intersect1d(first[:, 1], second[:, 1])
    ends = ends[ends > 0]
    found = []
    for spans in (first, second):
        piece = np.searchsorted(ends, spans[:, 1])
        found.append(np.where((piece < len(ends)) & (spans[:, 1] > 0), piece, -1))
    return found[0], found[1], len(ends)


def gathered(activations: sp.csr_matrix, pieces: Int[np.ndarray, " tokens"], count: int) -> sp.csr_matrix:
    """Activations by piece: the largest of its tokens'. Tokens in no piece (-1) are left out."""
    held = activations.tocoo()
    piece = pieces[held.row]
    kept = piece >= 0
    piece, latents, values = piece[kept], held.col[kept], held.data[kept]
    order = np.lexsort((-values, latents, piece))
    piece, latents, values = piece[order], latents[order], values[order]
    new = (np.diff(piece, prepend=-1) != 0) | (np.diff(latents, prepend=-1) != 0)
    return sp.csr_matrix(
        (values[new], (piece[new], latents[new])), shape=(count, activations.shape[1]), dtype=np.float64
    )


def correlations(
    first: sp.csr_matrix, second: sp.csr_matrix, *, fewest: int = FEWEST, candidates: int = CANDIDATES
) -> sp.csr_matrix:
    """Pearson's correlation of the activations of each latent with those of others, where it is above 0.

    Both are activations at the same pieces. Of each latent's the largest `candidates` are kept; latents that
    fire less than `fewest` times have none.
    """
    scaled, means = zip(*(_scaled(each, fewest) for each in (first, second)), strict=True)
    count, blocks = first.shape[0], []
    left, right = scaled[0].T.tocsr(), scaled[1]
    for start in range(0, left.shape[0], 256):
        block = slice(start, start + 256)
        found = (left[block] @ right).tocoo()
        row = found.row + start
        r = found.data - count * means[0][row] * means[1][found.col]
        blocks.append(_largest(sp.csr_matrix((r, (found.row, found.col)), shape=found.shape), candidates))
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))


def _scaled(activations: sp.csr_matrix, fewest: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """Columns and their means, divided so that deviations have length 1; of too few firings 0."""
    values, count = sp.csr_matrix(activations, dtype=np.float64), activations.shape[0]
    mean = np.asarray(values.sum(0)).ravel() / count
    spread = np.sqrt(np.maximum(np.asarray(values.multiply(values).sum(0)).ravel() - count * mean**2, 0))
    fired = np.asarray((values > 0).sum(0)).ravel()
    enough = (fired >= fewest) & (spread > 0)
    factor = np.divide(1, spread, out=np.zeros(len(spread)), where=enough)
    return sp.csr_matrix(values @ sp.diags(factor)), mean * factor


def cosine_candidates(
    decoder: Float[np.ndarray, "latents width"],
    others: Float[np.ndarray, "others width"],
    *,
    candidates: int = CANDIDATES,
    cells: int = _CELLS,
) -> sp.csr_matrix:
    """Cosine of each direction with those of the others that are likest, where it is above 0.

    At most `cells` numbers are held at once.
    """
    left, right, blocks = unit_rows(decoder), unit_rows(others), []
    size = max(1, cells // max(1, len(right)))
    most = min(candidates, len(right))
    for start in range(0, len(left), size):
        found = left[start : start + size] @ right.T
        near = np.argpartition(-found, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(found, near, axis=1)
        ends = np.arange(0, near.size + 1, most)
        block = sp.csr_matrix((values.ravel(), near.ravel(), ends), shape=found.shape, dtype=np.float64)
        blocks.append(_largest(block, candidates))
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))


def assign(alike: sp.csr_matrix) -> Matched:
    """One to one, so that the sum of likeness is greatest; who is like nobody stays alone.

    Likeness is above 0 and at most 1.
    """
    count = alike.shape[0]
    # Each may also be matched with nobody, at the cost of no likeness: else a match of all might not be.
    costs = sp.csr_matrix(alike, copy=True, dtype=np.float64)
    costs.data = 2 - costs.data
    first, second = min_weight_full_bipartite_matching(
        sp.hstack([costs, sp.diags(np.full(count, 2.0))], format="csr")
    )
    real = second < alike.shape[1]
    first, second = first[real].astype(np.int64), second[real].astype(np.int64)
    found = np.asarray(alike[first, second]).ravel() if len(first) else np.zeros(0)
    return Matched(first, second, found)


def chance(
    first: sp.csr_matrix, second: sp.csr_matrix, *, seed: int, shuffles: int = 20, fewest: int = FEWEST
) -> Float[np.ndarray, "shuffles latents"]:
    """The largest correlation of each latent of `first` where pieces of `second` stand in another order."""
    random, found = np.random.default_rng(seed), np.zeros((shuffles, first.shape[1]))
    for number in range(shuffles):
        shuffled = second[random.permutation(second.shape[0])]
        alike = correlations(first, shuffled, fewest=fewest, candidates=1)
        found[number] = alike.max(1).toarray().ravel()
    return found


def correlation_of(
    first: sp.csr_matrix, second: sp.csr_matrix, pairs: Matched, *, fewest: int = FEWEST
) -> Float[np.ndarray, " pairs"]:
    """Pearson's correlation of the pairs; NaN where one fires less than `fewest` times."""
    (left, one), (right, other) = (_scaled(each, fewest) for each in (first, second))
    together = np.asarray(left[:, pairs.first].multiply(right[:, pairs.second]).sum(0)).ravel()
    r = together - first.shape[0] * one[pairs.first] * other[pairs.second]
    fires = [np.asarray(abs(each).sum(0)).ravel() > 0 for each in (left, right)]
    return np.where(fires[0][pairs.first] & fires[1][pairs.second], r, np.nan)


def _largest(rows: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """Of each row the largest values above 0, equal ones by number."""
    held = rows.tocoo()
    order = np.lexsort((held.col, -held.data, held.row))
    row, column, value = held.row[order], held.col[order], held.data[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = (rank < most) & (value > 0)
    return sp.csr_matrix((np.minimum(value[kept], 1), (row[kept], column[kept])), shape=rows.shape)
