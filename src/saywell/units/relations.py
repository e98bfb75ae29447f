"""How latents stand to one another: which are nearly the same, and which split the firing of another.

`fires` is 1 where a latent fires at a token, tokens x latents. There is no array of latents x latents: only
pairs that fire at a token together are ever formed, some latents at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

FEWEST = 10
"""Firings of a latent below which nothing is said of it."""
SAME_DIRECTION, SAME_TOKENS = 0.7, 0.5
"""Near duplicates share half of their direction (0.7 squared: the cosine of Leask et al. 2025,
arXiv:2502.04878, and of Paulo and Belrose 2025, arXiv:2501.16615) and half of the tokens at which either
fires."""
MOSTLY = 0.8
"""Latents are parts of another if it fires at this share of where each fires, and they at this share of where
it does."""
LEAST = 0.05
"""Share of the firing of a whole that a part has to add."""
_BLOCK, _DRAWN = 256, 2000


class Together(NamedTuple):
    """Pairs of latents that fire at some token together: how often each does, and both."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    firsts: Int[np.ndarray, " pairs"]
    seconds: Int[np.ndarray, " pairs"]
    both: Int[np.ndarray, " pairs"]

    @property
    def jaccard(self) -> Float[np.ndarray, " pairs"]:
        """Of the tokens at which either fires the share at which both do."""
        return self.both / (self.firsts + self.seconds - self.both)

    def where(self, keep: np.ndarray) -> Together:
        """Some of the pairs."""
        return Together(*(column[keep] for column in self))


class Duplicates(NamedTuple):
    """Pairs of near duplicates, the lower number first, and the most that chance gives."""

    pairs: Together
    cosine: Float[np.ndarray, " pairs"]
    chance_cosine: float
    """Largest among two million pairs of directions that are drawn, with the covariance of the decoder's."""
    chance_jaccard: float
    """Largest of all pairs where the tokens of one of the two stand in another order."""
    chance_pairs: int
    """Of those pairs how many fire at the same tokens, as duplicates do."""


class Split(NamedTuple):
    """A latent whose firing several others share out among them."""

    whole: int
    parts: Int[np.ndarray, " parts"]
    inside: Float[np.ndarray, " parts"]
    """Of a part's firings the share at which the whole fires."""
    covers: Float[np.ndarray, " parts"]
    """Of the whole's firings the share at which a part fires."""
    covered: float
    """The share at which any of them fires."""


def firings(activations: sp.csr_matrix) -> sp.csr_matrix:
    """Where activations are above 0, as counts that can be summed."""
    fires = (activations > 0).astype(np.int32)
    fires.eliminate_zeros()
    return sp.csr_matrix(fires)


def together(first: sp.csr_matrix, second: sp.csr_matrix, *, fewest: int = FEWEST) -> Iterator[Together]:
    """All pairs of a latent of `first` and one of `second` that fire at a token together, in blocks.

    Both are firings at the same tokens. Latents that fire less than `fewest` times are left out.
    """
    firsts, seconds = (np.asarray(each.sum(0)).ravel() for each in (first, second))
    columns, enough = first.tocsc(), sp.diags((seconds >= fewest).astype(np.int32), dtype=np.int32)
    others = sp.csr_matrix(second @ enough)
    others.eliminate_zeros()
    mine = np.flatnonzero(firsts >= fewest)
    for start in range(0, len(mine), _BLOCK):
        block = mine[start : start + _BLOCK]
        found = (columns[:, block].T @ others).tocoo()
        one, other = block[found.row], found.col.astype(np.int64)
        yield Together(one, other, firsts[one], seconds[other], found.data)


def joined(blocks: Iterable[Together]) -> Together:
    """All pairs of several blocks."""
    none = Together(*[np.zeros(0, dtype=np.int64)] * 5)
    return Together(*map(np.concatenate, zip(none, *blocks, strict=True)))


def duplicates(
    fires: sp.csr_matrix, decoder: Float[np.ndarray, "latents width"], *, seed: int, fewest: int = FEWEST
) -> Duplicates:
    """Pairs that fire at the same tokens and point the same way.

    By SAME_TOKENS and SAME_DIRECTION, and more than the most there is by chance.
    """
    random = np.random.default_rng(seed)
    shuffled = fires[random.permutation(fires.shape[0])]
    by_chance, met = 0.0, 0
    for own in together(fires, shuffled, fewest=fewest):
        by_chance, met = max(by_chance, most(own.jaccard)), met + int((own.jaccard >= SAME_TOKENS).sum())
    same = max(SAME_TOKENS, float(np.nextafter(by_chance, 1)))
    blocks = together(fires, fires, fewest=fewest)
    pairs = joined(own.where((own.first < own.second) & (own.jaccard >= same)) for own in blocks)
    cosine, chance = cosines(decoder, decoder, pairs.first, pairs.second), chance_cosine(decoder, random)
    near = (cosine >= SAME_DIRECTION) & (cosine > chance)
    return Duplicates(pairs.where(near), cosine[near], chance, by_chance, met)


def cosines(
    directions: Float[np.ndarray, "latents width"],
    others: Float[np.ndarray, "others width"],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    """Cosine of each pair of a direction and one of the others; 0 where one of them has no length."""
    left, right, found = unit_rows(directions), unit_rows(others), np.empty(len(first))
    for start in range(0, len(first), _DRAWN):
        some = slice(start, start + _DRAWN)
        found[some] = np.einsum("pw,pw->p", left[first[some]], right[second[some]])
    return found


def chance_cosine(decoder: Float[np.ndarray, "latents width"], random: np.random.Generator) -> float:
    """Largest cosine among two million pairs of directions with the second moments of a decoder's.

    They are what a decoder is like that has its directions turned at random within where it has any.
    """
    rows = unit_rows(decoder[random.permutation(len(decoder))[: 2 * _DRAWN]].astype(np.float64))
    drawn = unit_rows(random.standard_normal((_DRAWN, len(rows))) @ rows)
    return max(most(drawn[row, None] @ drawn[row + 1 :].T) for row in range(_DRAWN - 1))


def unit_rows(directions: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
    """Rows of length 1; one without length stays."""
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.divide(directions, length, out=np.zeros_like(directions), where=length > 0)


def splits(whole: sp.csr_matrix, parts: sp.csr_matrix, *, fewest: int = FEWEST) -> list[Split]:
    """Latents of `whole` that two or more of `parts` split.

    Their firing is inside its, apart, and nearly all of it (see MOSTLY, LEAST). Both are firings at the same
    tokens, of two dictionaries or twice of one. "Inside" is beyond what there would be by chance of a whole
    that fires at many tokens: (share - rate) / (1 - rate). The part that adds most is taken first, equal ones
    by number; one that fires mostly where another does is none.
    """
    tokens, columns = whole.shape[0], parts.tocsc()
    inside = joined(own.where(_inside(own, tokens)) for own in together(whole, parts, fewest=fewest))
    inside = inside.where(np.lexsort((inside.second, inside.first)))
    of_whole, found = whole.tocsc(), []
    edges = np.flatnonzero(np.diff(inside.first, prepend=-1, append=-1))
    for start, stop in pairwise(edges.tolist()):
        if stop - start > 1:
            own = inside.where(np.arange(start, stop))
            fires = columns[of_whole[:, own.first[0]].indices][:, own.second].toarray() > 0
            split = _shared_out(own, fires)
            if split is not None:
                found.append(split)
    return found


def _inside(pairs: Together, tokens: int) -> np.ndarray:
    """Which second ones fire mostly where the first does, and are no more than a part of it."""
    rate = pairs.firsts / tokens
    beyond = (pairs.both / pairs.seconds - rate) / np.maximum(1 - rate, 1 / tokens)
    covers = pairs.both / pairs.firsts
    return (beyond >= MOSTLY) & (covers >= LEAST) & (covers <= 1 - LEAST)


def _shared_out(own: Together, fires: np.ndarray) -> Split | None:
    """The parts of one whole, by where among its firings each fires; None where they are not enough."""
    taken = np.zeros(len(fires), dtype=bool)
    left, chosen = list(range(fires.shape[1])), []
    while left:
        adds = fires[:, left][~taken].sum(0)
        apart = adds >= MOSTLY * fires[:, left].sum(0)
        best = int(np.argmax(np.where(apart, adds, -1)))
        if not apart[best] or adds[best] < LEAST * len(fires):
            break
        chosen.append(left.pop(best))
        taken |= fires[:, chosen[-1]]
    if len(chosen) < 2 or taken.mean() < MOSTLY:
        return None
    kept = own.where(np.array(chosen))
    inside, covers = kept.both / kept.seconds, kept.both / kept.firsts
    return Split(int(own.first[0]), kept.second, inside, covers, float(taken.mean()))


def most(values: np.ndarray) -> float:
    """The largest; 0 of none."""
    return float(values.max(initial=0.0))
