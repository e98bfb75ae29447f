"""Does a unit mean several things? Clusters of its exemplars, their number chosen by the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from saywell.describers.describer import Describer, Evidence
from saywell.description import Description

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

MOST_MEANINGS = 4
FEWEST = 3
"""Exemplars that make a meaning."""
CHANCE = 0.05
_NULL_SETS = 200


class Meaning(NamedTuple):
    """One of several meanings of a unit: how many exemplars have it, and what is said of these."""

    unit: str
    part: int
    """1 for the meaning of most exemplars, then 2 ..."""
    exemplars: int
    description: Description


def meanings(
    evidence: Evidence, describer: Describer, resources: Resources, study: StudyWriter
) -> list[Meaning]:
    """The meanings of the units that have several, each described by itself from its cluster.

    A describer is asked about all clusters of all units as if each were a unit, with the unit's
    contrasts and with what leaves the unit cold. Units with fewer than two described clusters, or whose
    clusters say the same, have one meaning and are left out.
    """
    vectors = resources.vectors(evidence.examples)
    population = np.arange(len(evidence.examples))
    labels = cluster_exemplars(evidence.places, vectors, population, seed=evidence.seed)
    clusters = [
        (unit, part)
        for unit, label in enumerate(labels)
        if label.max(initial=0) > 0
        for part in range(int(label.max()) + 1)
    ]
    if not clusters:
        return []
    said = describer.describe(_of_clusters(evidence, labels, clusters), resources, study)
    of_unit: dict[int, list[Meaning]] = {}
    for (unit, part), description in zip(clusters, said, strict=True):
        if description.text:
            size, id = int((labels[unit] == part).sum()), evidence.ids[unit]
            own = replace(description, unit=id)
            of_unit.setdefault(unit, []).append(Meaning(id, part + 1, size, own))
    different = {unit: {_said(each.description) for each in found} for unit, found in of_unit.items()}
    return [each for unit, found in of_unit.items() if len(different[unit]) > 1 for each in found]


def _said(description: Description) -> frozenset[str]:
    """The same in whatever order."""
    return frozenset(description.parts or (description.text,))


def _of_clusters(
    evidence: Evidence, labels: Sequence[np.ndarray], clusters: Sequence[tuple[int, int]]
) -> Evidence:
    """The evidence of each cluster by itself, as that of a unit of its own."""
    owner = [evidence.ids[unit] for unit, _ in clusters]
    names = [f"{unit}, part {part + 1}" for unit, (_, part) in zip(owner, clusters, strict=True)]
    activations = evidence.activations.only(owner)
    members = [evidence.places[unit][labels[unit] == part] for unit, part in clusters]
    exemplars = pl.DataFrame(
        {
            "unit": [name for name, places in zip(names, members, strict=True) for _ in places],
            "rank": [rank for places in members for rank in range(len(places))],
            "example": [evidence.examples.ids[place] for places in members for place in places],
        }
    )
    own = pl.DataFrame({"id": names, "unit": owner})
    return replace(
        evidence,
        units=own.join(evidence.units, left_on="unit", right_on="id", maintain_order="left"),
        activations=replace(activations, units=activations.units.with_columns(id=own["id"])),
        exemplars=exemplars,
        contrasts=evidence.contrasts.join(own, on="unit").with_columns(unit="id"),
    )


def cluster_exemplars(
    sets: Sequence[Int64[np.ndarray, " _"]],
    vectors: Float[np.ndarray, "texts dim"],
    population: Int64[np.ndarray, " drawn"],
    *,
    seed: int = 0,
) -> list[Int64[np.ndarray, " _"]]:
    """The meaning (0, 1, ...) of every exemplar of every set; -1 in clusters of fewer than three.

    `sets` are places in `vectors`, which are unit vectors. Each set is cut by average linkage of
    cosine distances into the two to four clusters of highest silhouette (Rousseeuw 1987). It stays
    whole, all 0, unless the silhouette is higher than all but 5 % of those of sets of the same size
    drawn from `population`: any set of texts falls apart somehow.
    """
    bars: dict[int, float] = {}
    result = []
    for places in sets:
        if len(places) < 2 * FEWEST:
            result.append(np.zeros(len(places), dtype=np.int64))
            continue
        if len(places) not in bars:
            bars[len(places)] = _bar(len(places), vectors, population, seed)
        labels, silhouette = _cut(vectors[places])
        whole = silhouette <= bars[len(places)]
        result.append(np.zeros(len(places), dtype=np.int64) if whole else _by_size(labels))
    return result


def _bar(size: int, vectors: np.ndarray, population: np.ndarray, seed: int) -> float:
    random = np.random.default_rng([seed, size])
    take = min(size, len(population))
    found = [_cut(vectors[random.choice(population, take, replace=False)])[1] for _ in range(_NULL_SETS)]
    return float(np.quantile(found, 1 - CHANCE))


def _cut(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The best cut into two or more clusters and its silhouette, -1 to 1."""
    distances = np.clip(1 - vectors @ vectors.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    cuts = (fcluster(tree, k, "maxclust") for k in range(2, MOST_MEANINGS + 1))
    scored = [(labels, _silhouette(distances, labels)) for labels in cuts]
    return max(scored, key=lambda each: each[1])


def _silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette; 0 for members of clusters of fewer than three, -1 without two larger ones."""
    values, member = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(values))[member]
    sizes = one_hot.sum(0)
    large = sizes >= FEWEST
    if large.sum() < 2:
        return -1.0
    sums = distances @ one_hot
    own = sums[np.arange(len(member)), member] / np.maximum(sizes[member] - 1, 1)
    means = np.where(large, sums / sizes, np.inf)
    means[np.arange(len(member)), member] = np.inf
    other = means.min(1)
    with np.errstate(invalid="ignore"):
        each = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(large[member], each, 0.0).mean())


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Numbered from the largest cluster down, equals by first member; small ones are -1."""
    values, first, member, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    number = np.full(len(values), -1)
    kept = [place for place in order if sizes[place] >= FEWEST]
    number[kept] = np.arange(len(kept))
    return number[member]
