"""A model's side of the neuron study: its units, its activations, and what was found about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float

from saywell.describers.associations import Associations, associate, length_strata
from saywell.units.activations import Activations
from saywell.units.sites import Site
from saywell.units.statistics import exemplar_table, unit_table
from saywell.units.tokens import Tokens


@dataclass(frozen=True)
class Tags:
    """Who carries what: texts x descriptors for every text, and which texts have an answer."""

    matrix: sp.csr_matrix
    known: Bool[np.ndarray, " texts"]
    lengths: np.ndarray


@dataclass(frozen=True)
class Subject:
    """A model's side of the evaluation: its units, activations, and what was found about them."""

    units: pl.DataFrame
    activations: Activations
    calibration: Associations
    validation: Associations

    def shuffled(self, seed: int) -> Subject:
        """Every unit with the exemplars of another unit that also fires: the link is broken."""
        order = np.arange(len(self.units))
        ok = np.flatnonzero((self.units["state"] == "ok").to_numpy())
        order[ok] = np.random.default_rng(seed).permutation(ok)
        return replace(
            self,
            calibration=Associations(*(part[order] for part in self.calibration)),
            validation=Associations(*(part[order] for part in self.validation)),
        )

    def weights(self, rule: str, threshold: float) -> Float[np.ndarray, "units descriptors"]:
        """Evidence that a firing unit gives for each of its descriptors."""
        found = self.calibration
        if rule == "composition":
            return np.where(found.composed(threshold), found.composition, 0.0)
        return np.where(found.enriched(), np.log(np.maximum(found.lift, 1.0)), 0.0)

    def assigned(self, rule: str, threshold: float, split: str = "calibration") -> np.ndarray:
        """Units x descriptors: who got what."""
        found = self.calibration if split == "calibration" else self.validation
        return found.composed(threshold) if rule == "composition" else found.enriched()


def make_subject(
    activations: Activations,
    units: pl.DataFrame,
    exemplars: pl.DataFrame,
    examples: pl.DataFrame,
    tags: Tags,
) -> Subject:
    """Step 6 on calibration and, for the comparison, on validation."""
    found = {
        split: _associations(exemplars.filter(split=split), units, examples, split, tags)
        for split in ("calibration", "validation")
    }
    return Subject(units, activations, found["calibration"], found["validation"])


def _associations(
    exemplars: pl.DataFrame, units: pl.DataFrame, examples: pl.DataFrame, split: str, tags: Tags
) -> Associations:
    rows = np.flatnonzero((examples["split"] == split).to_numpy() & tags.known)
    place = pl.DataFrame({"example": examples["id"].gather(rows), "column": np.arange(len(rows))})
    number = pl.DataFrame({"unit": units["id"], "number": np.arange(len(units))})
    pairs = exemplars.join(number, on="unit").join(place, on="example").sort("number", "rank")
    matrix = sp.csr_matrix(
        (np.ones(len(pairs)), (pairs["number"].to_numpy(), pairs["column"].to_numpy())),
        shape=(len(units), len(rows)),
    )
    return associate(matrix, tags.matrix[rows], length_strata(tags.lengths[rows]))


def make_control(
    activations: Activations,
    sites: Sequence[Site],
    tokens: Tokens,
    examples: pl.DataFrame,
    tags: Tags,
) -> Subject:
    """The same for the model with random weights, all of whose tables stay in memory."""
    units = unit_table(activations, sites, "random weights")
    exemplars = exemplar_table(activations, units, tokens, examples["id"].to_list())
    return make_subject(activations, units, exemplars, examples, tags)
