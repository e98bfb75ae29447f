"""What a describer that sits the exam is shown of a world, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from saywell.data.examples import Examples, Kind
from saywell.data.parts import DESCRIBE
from saywell.data.splits import hash_numbers
from saywell.describers.describer import Describer, Evidence, Tagger
from saywell.describers.llm import ASKED, EXEMPLARS
from saywell.resources import Resources
from saywell.store.study import write_study

STRONGEST = 100
"""Exemplars of a planted unit at most; the groups of a task are shown whole."""


@dataclass(frozen=True)
class Planted:
    """Activations of planted units, which are known throughout."""

    units: pl.DataFrame
    responses: Float[np.ndarray, "units examples"]
    fired: Bool[np.ndarray, "units examples"]

    def of(self, units: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Responses of some units to some examples."""
        return self.responses[self._places(units)][:, rows]

    def fires(self, units: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Whether some units fire on some examples."""
        return self.fired[self._places(units)][:, rows]

    def known(self, units: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Everything is."""
        return np.ones((len(units), len(rows)), dtype=bool)

    def _places(self, units: Sequence[str]) -> list[int]:
        place = {unit: number for number, unit in enumerate(self.units["id"])}
        return [place[unit] for unit in units]


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


def planted_evidence(planted: Planted, examples: Examples, most_exemplars: int, seed: int) -> Evidence:
    """The strongest examples of each unit among those that it fires on, and others; ties by content."""
    ids = np.asarray(examples.ids, dtype=object)
    content = hash_numbers(examples.ids, seed, "exemplars")
    strongest: list[tuple[str, int, str]] = []
    silent: list[tuple[str, int, str]] = []
    for place, unit in enumerate(planted.units["id"]):
        fired, response = planted.fired[place], planted.responses[place]
        ranked = np.lexsort((content, -np.where(fired, response, -np.inf)))[: int(fired.sum())]
        order = np.argsort(hash_numbers(examples.ids, seed, f"contrast:{place}"), kind="stable")
        cold = order[~fired[order]]
        for table, rows in ((strongest, ranked[:most_exemplars]), (silent, cold[:EXEMPLARS])):
            table += [(unit, rank, id) for rank, id in enumerate(ids[rows])]
    schema = {"unit": pl.String, "rank": pl.Int32, "example": pl.String}
    exemplars, contrasts = (pl.DataFrame(rows, schema=schema, orient="row") for rows in (strongest, silent))
    return Evidence(planted.units, examples, planted, exemplars, contrasts, seed)  # type: ignore[arg-type]


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
