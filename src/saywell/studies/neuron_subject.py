"""A model's side of the neuron study: its units, its activations, and what was found about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Int

from saywell.data.parts import DESCRIBE, SELECT, Parts, parts_of
from saywell.describers.associations import Associations, associate, length_strata
from saywell.units.activations import Activations
from saywell.units.exemplars import Locate, exemplar_table, nowhere
from saywell.units.firing import TopShare
from saywell.units.responses import Responses
from saywell.units.statistics import unit_table, with_places

FIRES = TopShare(0.05)
"""When a neuron fires."""


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
    parts: Parts
    calibration: Associations
    validation: Associations | None

    def weights(self, rule: str, threshold: float) -> sp.csr_matrix:
        """Units x descriptors: the evidence that a firing unit gives for each of its descriptors."""
        found = self.calibration
        if rule == "composition":
            return sp.csr_matrix(np.where(found.composed(threshold), found.composition, 0))
        return sp.csr_matrix(np.where(found.enriched(), np.log(np.maximum(found.lift, 1)), 0))

    def exchanged(self, seed: int) -> Int[np.ndarray, " units"]:
        """An order of the units in which each stands where another one that also fires stood."""
        order = np.arange(len(self.units))
        ok = np.flatnonzero((self.units["state"] == "ok").to_numpy())
        order[ok] = np.random.default_rng(seed).permutation(ok)
        return order

    def found(self, split: str) -> Associations:
        """What the exemplars of one of the two splits say."""
        if split == DESCRIBE:
            return self.calibration
        assert self.validation is not None, "made without the split to compare with"
        return self.validation

    def without_p(self) -> Subject:
        """The same without p-values, which only table `associations` wants and which are large."""
        nothing = np.empty(0, dtype=np.float32)
        calibration, validation = (
            None if found is None else found._replace(p=nothing)
            for found in (self.calibration, self.validation)
        )
        assert calibration is not None
        return Subject(self.units, self.activations, self.parts, calibration, validation)

    def assigned(self, rule: str, threshold: float, split: str = DESCRIBE) -> np.ndarray:
        """Units x descriptors: who got what."""
        found = self.found(split)
        return found.composed(threshold) if rule == "composition" else found.enriched()


def make_subject(
    stored: Responses,
    units: pl.DataFrame,
    exemplars: pl.DataFrame,
    examples: pl.DataFrame,
    tags: Tags,
    *,
    compare: bool = True,
) -> Subject:
    """Step 6 on calibration and, to compare with unless told not to, on validation."""
    calibration, validation = (
        _associations(exemplars.filter(part=split), units, examples, split, tags)
        if split == DESCRIBE or compare
        else None
        for split in (DESCRIBE, SELECT)
    )
    assert calibration is not None
    activations = Activations(stored, with_places(units), FIRES)
    return Subject(units, activations, parts_of(examples), calibration, validation)


def _associations(
    exemplars: pl.DataFrame, units: pl.DataFrame, examples: pl.DataFrame, split: str, tags: Tags
) -> Associations:
    rows = np.flatnonzero((examples["part"] == split).to_numpy() & tags.known)
    place = pl.DataFrame({"example": examples["id"].gather(rows), "column": np.arange(len(rows))})
    number = pl.DataFrame({"unit": units["id"], "number": np.arange(len(units))})
    pairs = exemplars.join(number, on="unit").join(place, on="example").sort("number", "rank")
    matrix = sp.csr_matrix(
        (np.ones(len(pairs)), (pairs["number"].to_numpy(), pairs["column"].to_numpy())),
        shape=(len(units), len(rows)),
    )
    return associate(matrix, tags.matrix[rows], length_strata(tags.lengths[rows]))


def make_control(
    stored: Responses, units: pl.DataFrame, examples: pl.DataFrame, tags: Tags, top: int
) -> Subject:
    """The same for the model with random weights, all of whose tables stay in memory."""
    units = unit_table(units, stored, FIRES, parts_of(examples).describe)
    exemplars = strongest_texts(stored, units, examples, top)
    return make_subject(stored, units, exemplars, examples, tags).without_p()


def strongest_texts(
    stored: Responses, units: pl.DataFrame, examples: pl.DataFrame, top: int, locate: Locate = nowhere
) -> pl.DataFrame:
    """Table `exemplars` of the two splits from which anything is said of units."""
    parts = parts_of(examples)
    named = {DESCRIBE: parts.describe, SELECT: parts.select}
    activations = Activations(stored, with_places(units), FIRES)
    return exemplar_table(activations, examples["id"].to_list(), named, top, locate)
