"""Does one description do? Clusters of a unit's exemplars, described singly, against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from saywell.claims.language import MOST_ATOMS, Claim, parse
from saywell.describers.claims import Claims
from saywell.describers.meanings import Meaning, meanings
from saywell.description import Description
from saywell.readers.reader import Reader
from saywell.scorers.evaluate import HeldOut
from saywell.scorers.scoring import Task, score_units
from saywell.scorers.skill import Skill
from saywell.store.study import Metric, deciding_rows
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
    """Table `meanings`, of the first describer who makes no claims, as those read who decide about these.

    A reader that costs is not asked again: in its place the first that does not reads. Units with fewer
    than two described clusters, or whose clusters say the same, have one meaning and no rows.
    `difference` is what a part, or all parts together, add to the F1 of the better of the one description
    and a constant answer.
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
    cheap = {one.name: one for one in question.readers if not one.costly}
    # A claim says by itself what its unit responds to beside: "A, or B".
    describer = next((one for one in question.describers if one.name != Claims.name), None)
    if not cheap or describer is None:
        return MEANINGS.empty()
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
    scores = deciding_rows(run.study.scores).filter(pl.col("description").is_in(written["id"].implode()))
    deciding = dict(scores.select("unit", "reader").iter_rows())
    of_reader: dict[str, dict[str, list[Meaning]]] = {}
    for unit, own in of_unit.items():
        name = deciding.get(unit, "")
        of_reader.setdefault(name if name in cheap else next(iter(cheap)), {})[unit] = own
    frames = [_as_read(run, cheap[name], own, single) for name, own in of_reader.items()]
    place = {unit: number for number, unit in enumerate(of_unit)}
    order = pl.col("unit").replace_strict(place, return_dtype=pl.Int64)
    return pl.concat(frames).sort(order, maintain_order=True)


def _as_read(
    run: Run, reader: Reader, of_unit: Mapping[str, Sequence[Meaning]], single: Mapping[str, Description]
) -> pl.DataFrame:
    """Rows of `meanings` of units about whose description this reader decides."""
    asked: list[tuple[str, int, int, Description]] = []
    for unit, own in of_unit.items():
        whole = _together(run, [meaning.description for meaning in own])
        asked.append((unit, 0, sum(meaning.exemplars for meaning in own), whole))
        asked += [(unit, n, m.exemplars, _together(run, [m.description])) for n, m in enumerate(own, start=1)]
    read = [description for *_, description in asked] + [single[unit] for unit, *_ in asked]
    predict = reader.open(run.examples, run.resources)
    held = HeldOut(run.subject.activations, run.examples, list(of_unit), run.resources.seed)
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
    return _table(asked, score_units(task, seed=run.resources.seed).skill)


def _stored(run: Run, written: pl.DataFrame) -> list[Description]:
    """Descriptions as they are in the study, with their parts."""
    tags = run.examples.tags
    known = {} if tags is None else dict(zip(tags.ids, tags.texts, strict=True))
    return [
        Description(
            unit,
            text,
            claim=claim or "",
            parts=tuple(known[name] for name in names if name in known),
            descriptors=tuple(names),
        )
        for unit, text, claim, names in written.select("unit", "text", "claim", "descriptors").iter_rows()
    ]


def _together(run: Run, own: Sequence[Description]) -> Description:
    """What all of these say, each part once, in the order of the descriptors where they are such."""
    tags = run.examples.tags
    parts = list(dict.fromkeys(part for each in own for part in each.parts or (each.text,)))
    names = list(dict.fromkeys(name for each in own for name in each.descriptors))
    if tags is not None and names:
        names = sorted(names, key=lambda name: tags.column[name])
        parts = [tags.texts[tags.column[name]] for name in names]
    claim = own[0].claim if len(own) == 1 else _either([each.claim for each in own])
    return replace(own[0], text=", ".join(parts), claim=claim, parts=tuple(parts), descriptors=tuple(names))


def _either(claims: Sequence[str]) -> str:
    """The claim that one of these holds; none where one claims nothing, or it would be too long."""
    if not all(claims):
        return ""
    clauses = dict.fromkeys(clause for claim in claims for clause in parse(claim).clauses)
    whole = Claim(tuple(clauses))
    return str(whole) if len(whole.atoms) <= MOST_ATOMS else ""


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
