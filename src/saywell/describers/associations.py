"""From exemplars to descriptors: step B.6 of the method, the paper's rule and ours side by side.

composition   the share of a unit's exemplars that carry a descriptor; the paper assigns descriptors
              whose composition reaches a threshold. It favours descriptors that are frequent anyway.
enrichment    is that share higher than chance? Hypergeometric upper tail against the base rate, the
              false discovery rate over all unit x descriptor tests held at 5 % (Benjamini and
              Hochberg 1995), and an effect size: the odds ratio of the exemplars against what texts of
              the same length carry. Of rare descriptors that is the lift; of one that four in five
              texts carry, which no lift of 1.5 is possible of, it still tells 95 % from 80 %.
              Long texts say more things and reach higher maxima, so neither is measured against
              the plain base rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from saywell.data.examples import Examples
from saywell.errors import InputError
from saywell.scorers.intervals import FALSE_DISCOVERY_RATE, benjamini_hochberg

MIN_HITS = 3
MIN_ODDS_RATIO = 1.5


class Associations(NamedTuple):
    """One number per unit and descriptor."""

    hits: Int[np.ndarray, "units descriptors"]
    composition: Float[np.ndarray, "units descriptors"]
    lift: Float[np.ndarray, "units descriptors"]
    p: Float[np.ndarray, "units descriptors"]
    q: Float[np.ndarray, "units descriptors"]

    def composed(self, threshold: float) -> Bool[np.ndarray, "units descriptors"]:
        """The paper's rule."""
        return (self.composition >= threshold) & (self.hits >= MIN_HITS)

    def enriched(self) -> Bool[np.ndarray, "units descriptors"]:
        """Our rule."""
        significant = self.q <= FALSE_DISCOVERY_RATE
        # Where nothing was expected there is no lift, and no hit either.
        expected = self.composition / np.where(self.lift > 0, self.lift, np.inf)
        return significant & stands_out(self.composition, expected) & (self.hits >= MIN_HITS)


def stands_out(share: Float[np.ndarray, ...], expected: Float[np.ndarray, ...]) -> Bool[np.ndarray, ...]:
    """Whether the odds of a share (0 to 1) are at least 1.5 times those of the share expected."""
    return (share > expected) & (share * (1 - expected) >= MIN_ODDS_RATIO * expected * (1 - share))


def associations_of(exemplars: pl.DataFrame, units: Sequence[str], examples: Examples) -> Associations:
    """Associations of units (by id, in this order) with the tags of examples of one part.

    `exemplars` has columns unit and example; those that are not among the examples do not count, nor do
    examples whose tags nobody knows.

    Raises InputError for examples that nobody has tagged.
    """
    tags = examples.tags
    if tags is None:
        raise InputError("nobody has tagged these examples: give the question a tagger, or tag them yourself")
    rows = np.flatnonzero(tags.known)
    found = exemplar_matrix(exemplars, units, [examples.ids[row] for row in rows])
    return associate(found, tags.matrix[rows], length_strata(lengths_of(examples)[rows]))


def exemplar_matrix(exemplars: pl.DataFrame, units: Sequence[str], examples: Sequence[str]) -> sp.csr_matrix:
    """Units x examples, both by id in this order: 1 for each exemplar."""
    row = pl.DataFrame({"unit": units, "row": np.arange(len(units))}, schema_overrides={"unit": pl.String})
    column = pl.DataFrame(
        {"example": examples, "column": np.arange(len(examples))}, schema_overrides={"example": pl.String}
    )
    pairs = exemplars.select("unit", "example").join(row, on="unit").join(column, on="example")
    places = (pairs["row"].to_numpy(), pairs["column"].to_numpy())
    return sp.csr_matrix((np.ones(len(pairs)), places), shape=(len(units), len(examples)))


def lengths_of(examples: Examples) -> Int[np.ndarray, " examples"]:
    """How long each text is: in tokens where they were counted, otherwise in words; a picture has none."""
    if "tokens" in examples.table.columns:
        return examples.table["tokens"].to_numpy()
    if examples.kind == "image":
        return np.zeros(len(examples), dtype=np.int64)
    return np.array([len(text.split()) for text in examples.texts], dtype=np.int64)


def association_rows(
    found: Associations, units: Sequence[str], descriptors: Sequence[str], threshold: float
) -> pl.DataFrame:
    """Every unit and descriptor that either rule joins, by id, with what speaks for it."""
    composed, enriched = found.composed(threshold), found.enriched()
    unit, descriptor = (composed | enriched).nonzero()
    return pl.DataFrame(
        {
            "unit": [units[n] for n in unit.tolist()],
            "descriptor": [descriptors[n] for n in descriptor.tolist()],
            "hits": found.hits[unit, descriptor],
            "composition": found.composition[unit, descriptor].astype(np.float64),
            "lift": found.lift[unit, descriptor].astype(np.float64),
            "p": found.p[unit, descriptor].astype(np.float64),
            "q": found.q[unit, descriptor].astype(np.float64),
            "composed": composed[unit, descriptor],
            "enriched": enriched[unit, descriptor],
        },
        schema_overrides={"unit": pl.String, "descriptor": pl.String},
    )


def associate(
    exemplars: Shaped[sp.csr_matrix, "units texts"],
    tags: Shaped[sp.csr_matrix, "texts descriptors"],
    strata: Int[np.ndarray, " texts"],
) -> Associations:
    """Composition, lift and significance of every descriptor for every unit.

    `strata` groups texts of similar length.
    """
    hits = np.asarray((exemplars.astype(np.float64) @ tags).todense()).round().astype(np.int32)
    drawn = np.diff(exemplars.indptr)
    population, carrying = tags.shape[0], np.asarray(tags.sum(0)).ravel().round().astype(np.int64)
    # These are the largest arrays a study holds: single precision, and one at a time in double.
    p = enrichment_p(hits, drawn, carrying, population)
    q = benjamini_hochberg(p).astype(np.float32)
    p = p.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        composition = np.nan_to_num(hits / drawn[:, None]).astype(np.float32)
        lift = hits / expected_hits(exemplars, tags, strata)
    return Associations(hits, composition, np.nan_to_num(lift, posinf=0.0).astype(np.float32), p, q)


def expected_hits(
    exemplars: sp.csr_matrix, tags: sp.csr_matrix, strata: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, "units descriptors"]:
    """Hits that as many texts of the same lengths, taken at random, would have on average."""
    texts = len(strata)
    if texts == 0:
        return np.zeros((exemplars.shape[0], tags.shape[1]))
    group = sp.csr_matrix((np.ones(texts), (np.arange(texts), strata)))
    rate = (group.T @ tags).toarray() / np.asarray(group.sum(0)).T
    return (exemplars @ group).toarray() @ rate


def enrichment_p(
    hits: Int[np.ndarray, "units descriptors"],
    drawn: Int[np.ndarray, " units"],
    carrying: Int[np.ndarray, " descriptors"],
    population: int,
) -> Float[np.ndarray, "units descriptors"]:
    """P(at least `hits` carriers among `drawn` texts taken without replacement).

    `carrying` of `population` texts carry the descriptor. The tail has few distinct arguments, so
    it is tabled once per number drawn rather than computed per unit.
    """
    p = np.ones(hits.shape)
    columns = np.arange(hits.shape[1])
    for number in np.unique(drawn):
        if number == 0:
            continue
        possible = np.arange(number + 1)[:, None]
        # Summed from the far end, where the small terms are: scipy's `sf` and `pmf` take seconds.
        exactly = np.exp(stats.hypergeom.logpmf(possible, population, carrying[None, :], number))
        table = exactly[::-1].cumsum(0)[::-1]
        rows = drawn == number
        p[rows] = table[hits[rows], columns]
    return np.clip(p, 0.0, 1.0)


def length_strata(lengths: Int[np.ndarray, " texts"], groups: int = 10) -> Int[np.ndarray, " texts"]:
    """Texts in up to `groups` groups of similar length, equal lengths always together."""
    if len(lengths) == 0:
        return np.zeros(0, dtype=np.intp)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, groups + 1)[1:-1]))
    labels = np.searchsorted(edges, lengths, side="left")
    return np.unique(labels, return_inverse=True)[1]
