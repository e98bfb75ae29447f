"""Does one description do? Clusters of a unit's exemplars, described singly, against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from saywell.describers.meanings import Meaning, meanings
from saywell.description import Description
from saywell.scorers.evaluate import HeldOut
from saywell.scorers.scoring import Task, score_units
from saywell.scorers.skill import Skill
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import Run

SINGLE = "one description"
MEANINGS = Table(
    "meanings",
    {
        "unit": pl.String,
        "part": pl.Int32,
        "text": pl.String,
        "descriptors": pl.List(pl.String),
        "exemplars": pl.Int32,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "single": pl.Float64,
        "difference": pl.Float64,
        "difference_low": pl.Float64,
        "difference_high": pl.Float64,
        "n": pl.Int64,
    },
    key=("unit", "part"),
)
"""Several meanings: clusters of a unit's exemplars, each described and scored by itself (`part` 1, 2, ...),
and their descriptions together (`part` 0), beside the one description (`single`)."""


@dataclass(frozen=True)
class Meanings:
    """Table `meanings`, of the first describer's descriptions as the first reader reads them.

    Units with fewer than two described clusters, or whose clusters say the same, have one meaning and no
    rows. `difference` is what a part, or all parts together, add to the F1 of the better of the one
    description and a constant answer.
    """

    tables: Sequence[Table] = (MEANINGS,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(MEANINGS, lambda: _meaning_table(run))
        return []

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored."""
        return [_meaning_table(run)], []


def _meaning_table(run: Run) -> pl.DataFrame:
    question, resources = run.question, run.resources
    describer, reader = question.describers[0], question.readers[0]
    written = run.study.descriptions.filter(pl.col("describer") == describer.name, pl.col("text") != "")
    evidence = run.subject.evidence(run.examples, resources.seed)
    described = evidence.units.filter(pl.col("id").is_in(written["unit"].to_list()))
    found = meanings(replace(evidence, units=described), describer, resources, run.study)
    if not found:
        return MEANINGS.empty()
    of_unit: dict[str, list[Meaning]] = {}
    for meaning in found:
        of_unit.setdefault(meaning.unit, []).append(meaning)
    single = dict(zip(written["unit"], _stored(run, written), strict=True))
    asked: list[tuple[str, int, int, Description]] = []
    for unit, own in of_unit.items():
        whole = _together(run, [meaning.description for meaning in own])
        asked.append((unit, 0, sum(meaning.exemplars for meaning in own), whole))
        asked += [(unit, n, m.exemplars, _together(run, [m.description])) for n, m in enumerate(own, start=1)]
    read = [description for *_, description in asked] + [single[unit] for unit, *_ in asked]
    predict = reader.open(run.examples, resources)
    held = HeldOut(run.subject.activations, run.examples, list(of_unit), resources.seed)
    responding = held.of([unit for unit, *_ in asked])
    task = Task(
        [f"{unit}/{part}" for unit, part, _, _ in asked],
        lambda numbers, rows: predict([read[number] for number in numbers], rows),
        responding.fires,
        held.parts.select,
        held.parts.score,
        floors={SINGLE: np.arange(len(asked)) + len(asked)},
        known=responding.known if responding.unknown.nnz else None,
    )
    return _table(asked, score_units(task, seed=resources.seed).skill)


def _stored(run: Run, written: pl.DataFrame) -> list[Description]:
    """Descriptions as they are in the study, with their parts."""
    tags = run.examples.tags
    known = {} if tags is None else dict(zip(tags.ids, tags.texts, strict=True))
    return [
        Description(
            unit, text, parts=tuple(known[name] for name in names if name in known), descriptors=tuple(names)
        )
        for unit, text, names in written.select("unit", "text", "descriptors").iter_rows()
    ]


def _together(run: Run, own: Sequence[Description]) -> Description:
    """What all of these say, each part once, in the order of the descriptors where they are such."""
    tags = run.examples.tags
    parts = list(dict.fromkeys(part for each in own for part in each.parts or (each.text,)))
    names = list(dict.fromkeys(name for each in own for name in each.descriptors))
    if tags is not None and names:
        names = sorted(names, key=lambda name: tags.column[name])
        parts = [tags.texts[tags.column[name]] for name in names]
    return replace(own[0], text=", ".join(parts), parts=tuple(parts), descriptors=tuple(names))


def _table(asked: Sequence[tuple[str, int, int, Description]], skill: Skill) -> pl.DataFrame:
    columns = (
        skill.value,
        skill.low,
        skill.high,
        skill.floors[SINGLE],
        skill.skill,
        skill.skill_low,
        skill.skill_high,
    )
    rows = [
        (
            unit,
            part,
            own.text,
            list(own.descriptors),
            exemplars,
            *(float(c[row]) for c in columns),
            int(skill.n[row]),
        )
        for row, (unit, part, exemplars, own) in enumerate(asked)
    ]
    return MEANINGS.frame(rows).with_columns(pl.selectors.float().fill_nan(None))
