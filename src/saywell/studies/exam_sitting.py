"""An exam is sat and kept: what is the same whatever the examples are.

Who asks makes the worlds (`exam` of texts, `exam_images` of pictures) and names the describers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from saywell.data.planted_units import PlantedUnit
from saywell.data.splits import content_ids
from saywell.describers.describer import Describer
from saywell.describers.llm import ASKED
from saywell.progress import Progress
from saywell.store.study import Study, write_study
from saywell.store.table import UNANSWERED
from saywell.studies.exam_describers import Material, answer
from saywell.studies.exam_scoring import TRUTH, World, score_answers, with_recovery
from saywell.studies.exam_summary import summarize
from saywell.studies.exam_tables import EXAM_ANSWERS, EXAM_COSTS, EXAM_SUMMARY, EXAM_UNITS

TABLES = (EXAM_UNITS, EXAM_ANSWERS, EXAM_SUMMARY, EXAM_COSTS)


@dataclass(frozen=True)
class Exam:
    """What came of it: the questions, every answer, a line per describer, and what answers cost."""

    units: pl.DataFrame
    answers: pl.DataFrame
    summary: pl.DataFrame
    costs: pl.DataFrame
    unanswered: pl.DataFrame
    """What a language model was asked and did not answer."""


class Paper(NamedTuple):
    """An exam that can be sat: its worlds, made when it is; what they are of; what tells it from another."""

    worlds: Callable[[], list[World[Material]]]
    describers: list[Describer]
    of: str
    settings: dict[str, Any]
    inputs: Mapping[str, Iterable[str]]
    """Ids by what they are of."""


def sit_exam(
    worlds: Sequence[World[Material]],
    describers: Sequence[Describer],
    seed: int,
    progress: Progress,
    clock: Callable[[], float],
) -> Exam:
    """Each describer writes of every world's units; its answers are scored beside the truths'."""
    truths = [[unit.truth or "" for unit in world.units] for world in worlds]
    tables = [score_answers(TRUTH, worlds, truths, seed)]
    costs: list[tuple[str, int, float]] = []
    lost: list[tuple[str, str, str, str, str]] = []
    for describer in describers:
        name, started, calls = describer.name, clock(), 0
        written: list[list[str]] = []
        with progress(f"describer {name}", len(worlds)) as advance:
            for world in worlds:
                said = answer(describer, world.material())
                written.append(said.texts)
                calls += said.calls
                lost += [(ASKED, world.units[n].id, *why) for n, why in said.lost.items()]
                advance(1)
        costs.append((name, calls, clock() - started))
        with progress(f"reading {name}", 1):
            tables.append(score_answers(name, worlds, written, seed))
    answers = with_recovery(pl.concat(tables))
    return Exam(
        _unit_table([unit for world in worlds for unit in world.units]),
        answers,
        summarize(answers, seed),
        EXAM_COSTS.frame(costs),
        UNANSWERED.frame(lost),
    )


def _unit_table(units: list[PlantedUnit]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                unit.id,
                unit.kind,
                unit.truth,
                float(unit.fires.mean()),
                float(unit.rule.mean()),
                len(unit.rule),
            )
            for unit in units
        ],
        schema={
            "unit": pl.String,
            "kind": pl.String,
            "truth": pl.String,
            "fires": pl.Float64,
            "rule": pl.Float64,
            "texts": pl.Int64,
        },
        orient="row",
    )


def kept_exam(
    make: Callable[[], Exam],
    out: Path | None,
    *,
    inputs: Mapping[str, Iterable[str]],
    settings: Mapping[str, object],
    command: Sequence[str],
) -> Exam:
    """The exam, from the study `out` where it is stored already, or made and stored; None: only made.

    `inputs` are ids by what they are of.
    """
    if out is None:
        return make()
    fingerprints = {name: content_ids(["\n".join(sorted(ids))])[0] for name, ids in inputs.items()}
    with write_study(out, kind="exam", config=settings, inputs=fingerprints, command=list(command)) as study:

        def tables() -> tuple[pl.DataFrame, ...]:
            exam = make()
            study.unanswered(ASKED, exam.unanswered)
            return exam.units, exam.answers, exam.summary, exam.costs

        study.tables(TABLES, tables)
        return stored_exam(study)


def stored_exam(study: Study) -> Exam:
    """The exam that a study holds."""
    lost = "unanswered" in study.manifest.tables  # of an earlier version, which left it out
    units, answers, summary, costs = (study.table(table) for table in TABLES)
    unanswered = study.table("unanswered") if lost else UNANSWERED.empty()
    return Exam(units, answers, summary, costs, unanswered)
