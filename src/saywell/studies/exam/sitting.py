"""Who sits the exam: the truth and the describers of studies; and whose words are no floor of whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from saywell.data.examples import Kind
from saywell.data.parts import DescribeRows
from saywell.describers.describer import Describer, Evidence
from saywell.describers.descriptors.taggers import ExtractiveTags
from saywell.describers.given import Given
from saywell.description import Description
from saywell.resources import Resources
from saywell.scorers.floors import ANOTHER, Described, StandIns, another_unit
from saywell.store.study import StudyWriter, write_study
from saywell.store.table import Table
from saywell.units.planted.source import Planted

TRUTH = "true-description"
"""The describer that gives the true descriptions themselves: the ceiling of a reader."""


@dataclass(frozen=True)
class TrueDescription:
    """The truth about each planted unit; nothing where there is none, or nobody knows it."""

    source: Planted
    name: str = TRUTH
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """As they were planted."""
        known = {unit.id: unit for unit in self.source.planted if unit.truth}
        said = Given({id: unit.truth or "" for id, unit in known.items()})
        return [
            replace(each, claim=known[each.unit].claim) if each.text else each
            for each in said.describe(evidence, resources, study)
        ]


@dataclass(frozen=True)
class AnotherTruth:
    """Floor: the description of a unit with another description and another rule.

    And so has whoever shares either with them: two units with the same rule, rightly described, in whatever
    words, are no evidence against each other.
    """

    source: Planted
    name: str = ANOTHER
    readers: tuple[str, ...] | None = None

    def stand_ins(self, described: Described, seed: int) -> StandIns:
        """See `another_unit`."""
        # Of units whose rule nobody knows, or that have none, each is one of its own.
        rules = {unit.id: unit.rule.tobytes() if unit.truth else unit.id for unit in self.source.planted}
        groups: dict[tuple[str, str | bytes], list[int]] = {}
        for n, (unit, text) in enumerate(zip(described.units, described.texts, strict=True)):
            groups.setdefault(("said", text), []).append(n)
            groups.setdefault(("true", rules[unit]), []).append(n)
        pairs = [(group[0], n) for group in groups.values() for n in group]
        rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        count = len(described.units)
        links = sp.coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
        family = connected_components(links, directed=False)[1] if count else np.zeros(0, dtype=int)
        return StandIns(another_unit([str(n) for n in family], described.units, seed=seed))


class Sitting:
    """A describer that sits the exam: how long it takes, and how many LLM calls its descriptions took."""

    def __init__(self, describer: Describer, clock: Callable[[], float]) -> None:
        self.describer, self.clock = describer, clock
        self.name, self.version = describer.name, describer.version
        self.kinds, self.tables, self.needs_tags = describer.kinds, describer.tables, describer.needs_tags
        self.seconds, self.calls = 0.0, 0

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """What the describer says."""
        started = self.clock()
        with resources.progress(f"describer {self.name}", 1):
            said = self.describer.describe(evidence, resources, study)
        self.seconds += self.clock() - started
        self.calls += sum(each.llm is not None for each in said)
        return said


class ByTask:
    """What a describer is shown where units are of several tasks: of each task its own texts alone.

    Other tasks' texts would say what a task is about, and not how its two groups differ. Units are of one
    task where the same examples are known of them; descriptors are sought within it, once for all describers.
    """

    def __init__(self) -> None:
        self._tasks: list[tuple[list[int], Evidence, Evidence]] | None = None

    def of(self, evidence: Evidence, resources: Resources) -> list[tuple[list[int], Evidence, Evidence]]:
        """Of each task the places of its units, and the evidence without tags and with them."""
        if self._tasks is None:
            known = evidence.activations.known(evidence.ids, np.arange(len(evidence.examples)))
            units: dict[bytes, list[int]] = {}
            for place, row in enumerate(known):
                units.setdefault(row.tobytes(), []).append(place)
            self._tasks = [_task(evidence, own, known[own[0]], resources) for own in units.values()]
        return self._tasks


class OneTask:
    """A describer that is shown one task at a time."""

    needs_tags = False

    def __init__(self, describer: Describer, tasks: ByTask) -> None:
        self.describer, self.tasks = describer, tasks
        self.name, self.version = describer.name, describer.version
        self.kinds, self.tables = describer.kinds, describer.tables

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Of each unit what the describer says of it within its task."""
        said: dict[int, Description] = {}
        for places, plain, tagged in self.tasks.of(evidence, resources):
            shown = tagged if self.describer.needs_tags else plain
            own = self.describer.describe(shown, resources, study)
            # The study has no table of a task's own descriptors.
            said |= dict(zip(places, (replace(each, descriptors=()) for each in own), strict=True))
        return [said[place] for place in range(len(evidence.ids))]


def _task(
    evidence: Evidence, places: list[int], known: np.ndarray, resources: Resources
) -> tuple[list[int], Evidence, Evidence]:
    rows, ids = DescribeRows(np.flatnonzero(known)), [evidence.ids[place] for place in places]
    mine = pl.col("unit").is_in(ids)
    plain = Evidence(
        evidence.units[places],
        evidence.examples.only(rows),
        evidence.activations.only(ids).within(rows),
        evidence.exemplars.filter(mine),
        evidence.contrasts.filter(mine),
        evidence.seed,
    )
    with (
        TemporaryDirectory() as folder,
        write_study(Path(folder) / "task", kind="task", config={}, inputs={}) as study,
    ):
        tagged = ExtractiveTags().tag(plain.examples, resources, study)
    return places, plain, replace(plain, examples=tagged)
