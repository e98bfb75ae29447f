"""What a describer that sits the exam is shown of a world, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl

from saywell.data.examples import Examples, Kind
from saywell.data.parts import DESCRIBE, DescribeRows
from saywell.data.planted_units import PlantedUnit
from saywell.data.splits import hash_numbers
from saywell.describers.describer import Describer, Evidence, Tagger
from saywell.describers.llm import ASKED
from saywell.resources import Resources
from saywell.store.study import write_study
from saywell.units.activations import Activations
from saywell.units.exemplars import contrast_table, exemplar_table
from saywell.units.firing import Given
from saywell.units.responses import InMemory
from saywell.units.statistics import source_units, unit_table

STRONGEST = 100
"""Exemplars of a planted unit at most; the groups of a task are shown whole."""


@dataclass(frozen=True)
class Material:
    """All that a describer may see of a world, and who tags the examples if it speaks in descriptors."""

    evidence: Evidence
    resources: Resources
    tagger: Tagger


class Answers(NamedTuple):
    """A description per unit, empty for none, and how many LLM calls they took.

    `lost` says of which units (by place) an LLM gave no answer: reason, call, status.
    """

    texts: list[str]
    calls: int = 0
    lost: Mapping[int, tuple[str, str, str]] = {}


def describe_examples(table: pl.DataFrame, kind: Kind) -> Examples:
    """Examples (with column id, and text where they have one) of which all may be described."""
    known = table.with_columns(part=pl.lit(DESCRIBE))
    return Examples(known, kind, "", pl.DataFrame(), table.height)


def planted_evidence(
    units: Sequence[PlantedUnit], examples: Examples, rows: np.ndarray, most_exemplars: int, seed: int
) -> Evidence:
    """What units do on the examples, which stand in these rows of theirs; equal responses by content."""
    fires = np.array([unit.fires[rows] for unit in units])
    order = np.argsort(hash_numbers(examples.ids, seed, "exemplars"), kind="stable")
    stored = InMemory(np.array([unit.response[rows] for unit in units], dtype=np.float32).T, order)
    every, firing = DescribeRows(np.arange(len(rows))), Given(fires)
    table = unit_table(source_units([unit.id for unit in units], "planted"), stored, firing, every)
    activations = Activations(stored, table, firing)
    exemplars = exemplar_table(activations, examples.ids, {DESCRIBE: every}, most_exemplars)
    contrasts = contrast_table(activations, examples.ids, every, seed)
    return Evidence(table, examples, activations, exemplars, contrasts, seed)


def answer(describer: Describer, material: Material) -> Answers:
    """What the describer says of each unit. Its tables, and those of the tagger, are of no further use."""
    evidence, resources = material.evidence, material.resources
    with (
        TemporaryDirectory() as folder,
        write_study(Path(folder) / "exam", kind="exam", config={}, inputs={}) as study,
    ):
        if describer.needs_tags:
            tagged = material.tagger.tag(evidence.examples, resources, study)
            evidence = replace(evidence, examples=tagged)
        said = describer.describe(evidence, resources, study)
    place = {unit: number for number, unit in enumerate(evidence.ids)}
    lost = {place[unit]: tuple(why) for step, unit, *why in resources.lost if step == ASKED}
    return Answers([each.text for each in said], sum(each.llm is not None for each in said), lost)
