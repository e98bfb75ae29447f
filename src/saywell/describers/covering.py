"""Descriptors that together cover a unit's exemplars: each says something that none before it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool

from saywell.data.examples import Kind
from saywell.describers.associations import MIN_HITS, enrichment_p, stands_out
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_NAMED, describe_by_descriptors, no_such, tags_of
from saywell.description import Description
from saywell.scorers.intervals import FALSE_DISCOVERY_RATE
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class Covering:
    """Names up to five descriptors, each of those exemplars of which none before it holds."""

    name: str = "covering"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = True
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Silence where no descriptor holds of exemplars more often than of examples that leave it cold."""
        tags = tags_of(evidence)
        rows = np.flatnonzero(tags.known)
        holds = tags.matrix[rows].astype(bool)
        named = []
        for units, silent in evidence.cold(rows):
            for unit, cold in zip(units, silent, strict=True):
                named.append(cover(np.isin(rows, evidence.places[unit]), cold, holds))
        why = "no descriptor holds of its exemplars more often than of others"
        return describe_by_descriptors(evidence, named, no_such(evidence, why))


def cover(
    exemplars: Bool[np.ndarray, " examples"],
    silent: Bool[np.ndarray, " examples"],
    holds: Bool[sp.csr_matrix, "examples descriptors"],
) -> list[int]:
    """Columns of the descriptors of one unit, in the order in which they are found.

    The first is that of the most significant excess among the exemplars over exemplars and silent
    examples together (hypergeometric upper tail; Bonferroni over descriptors at 5 %), with an odds
    ratio of 1.5 and three hits at least. The next is sought among the examples of which no earlier
    one holds, and so says something else.
    """
    named: list[int] = []
    left = exemplars | silent
    by_descriptor = holds.tocsc()
    while len(named) < MOST_NAMED and (left & exemplars).any():
        hits = np.asarray(holds[left & exemplars].sum(0)).ravel().astype(np.int64)
        carrying = np.asarray(holds[left].sum(0)).ravel().astype(np.int64)
        drawn, population = int((left & exemplars).sum()), int(left.sum())
        p = enrichment_p(hits[None], np.array([drawn]), carrying, population)[0]
        p[~stands_out(hits / drawn, carrying / population) | (hits < MIN_HITS)] = 1.0
        best = int(p.argmin()) if len(p) else 0
        if not len(p) or p[best] * len(p) > FALSE_DISCOVERY_RATE:
            break
        named.append(best)
        left[by_descriptor.indices[by_descriptor.indptr[best] : by_descriptor.indptr[best + 1]]] = False
    return named
