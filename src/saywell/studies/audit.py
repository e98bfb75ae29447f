"""Does a study say what its own files say? Every check starts from the stored tables and arrays.

`audit_study` looks at all of a study: that files are those that were written, that no example is
used for two purposes, and that every headline figure follows from the tables. `verify_unit` does
the same for all that is claimed of one unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from saywell.data.duplicates import near_duplicate_groups
from saywell.data.parts import DESCRIBE, SCORE, Parts, check_apart, parts_of
from saywell.data.splits import content_ids
from saywell.data.texts import NEAR
from saywell.errors import InputError, LeakError, SaywellError, StudyError
from saywell.report.card import unknown_unit
from saywell.scorers.score_tables import SCORED, SCORER_VERSION
from saywell.store.files import file_hash
from saywell.store.study import STUDY_VERSION, Metric, Study
from saywell.store.table import Table
from saywell.studies.again import figures_again, stored_run, tables_again, units_again
from saywell.studies.described import DESCRIPTIONS
from saywell.studies.questions import own_of
from saywell.studies.spine import RESPONSES
from saywell.units.firing import GIVEN
from saywell.units.statistics import UNITS

OK, FAILED = "ok", "failed"
CLOSE = 1e-6
"""Figures that are computed again may differ by rounding, those from vectors by that of 32 bits."""

Finding = tuple[str, str, str]
_OBVIOUS = ("id", "unit", "description", "measure", "part")
"""Columns that need not be said of a claim about one unit."""
_ONE_BY_ONE = (UNITS, SCORED)
"""Tables whose every value is a claim; of others the rows of a unit are one."""


def audit_study(study: Study) -> pl.DataFrame:
    """One row per check: check, status ("ok" or "failed"), detail. Nothing is written.

    What has units is derived again from their stored responses, and what a question adds from its tables.
    """
    rows: list[Finding] = []
    study = _AsItIs(study)
    checks: list[Callable[[Study], Iterator[Finding]]] = [*_ALL, _units_follow_from_responses]
    if study.manifest.schema_version != STUDY_VERSION:  # today's steps would not make these tables
        checks = [check for check in checks if check in _ALL]
        derived = "not derived again: the version that wrote the study does it"
        rows.append((f"format {study.manifest.schema_version}", OK, f"read; figures are {derived}"))
    for check in checks:
        try:
            rows += check(study)
        except Exception as error:
            # Damage can break a check anywhere, and is what an audit is there to tell.
            name = check.__name__.strip("_").replace("_", " ")
            said = str(error) if isinstance(error, SaywellError) else f"{type(error).__name__}: {error}"
            rows.append((name, FAILED, said))
    return pl.DataFrame(rows, schema=["check", "status", "detail"], orient="row")


def verify_unit(study: Study, unit: str) -> pl.DataFrame:
    """What is claimed of a unit beside what its stored activations give: claim, stored, again, status.

    Raises InputError for a unit that the study does not have, and for a study without responses.
    """
    if study.manifest.schema_version != STUDY_VERSION:
        raise InputError(
            f"{str(study.path)!r} has format {study.manifest.schema_version}, whose units are verified by the"
            " version that wrote it; make the study again, with another --out"
        )
    claims = _claims(study, unit)
    rows = [(name, _shown(a), _shown(b), OK if agrees(a, b) else FAILED) for name, a, b in claims]
    return pl.DataFrame(rows, schema=["claim", "stored", "again", "status"], orient="row")


def _claims(study: Study, unit: str) -> Iterator[tuple[str, Any, Any]]:
    """What is stored of a unit, and what follows from its responses: (claim, stored, again)."""
    if unit not in study.units["id"]:
        raise unknown_unit(unit, study.units["id"].to_list())
    if (older := _older(study)) is not None:
        raise InputError(
            f"{str(study.path)!r} was scored by scorer version {older}, whose units are verified by the"
            " saywell that wrote it; make the study again, with another --out"
        )
    run = stored_run(study, *own_of(study))
    for table, again in units_again(run):
        key = "id" if table is UNITS else "unit"
        if key not in again.columns:
            continue
        stored = _by_those(study.table(table), again)
        old, new = (frame.filter(pl.col(key) == unit) for frame in (stored, again))
        if table in _ONE_BY_ONE:
            by = [column for column in table.key if column not in _OBVIOUS]
            for row in new.iter_rows(named=True):
                same = {column: row[column] for column in table.key}
                found = old.filter(**same)
                for column in (column for column in again.columns if column not in table.key):
                    named = [str(row[c]) for c in by]
                    was = found.row(0, named=True)[column] if found.height else None
                    yield ", ".join([table.name, *named, column]), was, row[column]
        else:
            order = list(table.key)
            yield table.name, old.select(again.columns).sort(order).rows(), new.sort(order).rows()


def agrees(stored: Any, again: Any) -> bool:
    """Equal; numbers, alone or in lists, up to rounding."""
    if isinstance(stored, float) and isinstance(again, float):
        both_missing = math.isnan(stored) and math.isnan(again)
        return both_missing or math.isclose(stored, again, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        return stored.keys() == again.keys() and all(agrees(stored[k], again[k]) for k in stored)
    if isinstance(stored, list | tuple) and isinstance(again, list | tuple):
        return len(stored) == len(again) and all(map(agrees, stored, again))
    return stored == again


def compare_tables(name: str, stored: pl.DataFrame, again: pl.DataFrame, key: Sequence[str]) -> Finding:
    """Whether two versions of a table agree, and the first row that does not."""
    label = f"table {name} derived again"
    again = again.select(stored.columns)
    if stored.height != again.height:
        return label, FAILED, f"{stored.height} rows are stored, {again.height} follow"
    pairs = zip(stored.sort(key).rows(), again.sort(key).rows(), strict=True)
    for old, new in pairs:
        if not agrees(old, new):
            column = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if not agrees(a, b))
            where = dict(zip(stored.columns, old, strict=True))
            shown = ", ".join(str(where[part]) for part in key)
            return (
                label,
                FAILED,
                f"{shown}: {stored.columns[column]} is {old[column]!r}, not {new[column]!r}",
            )
    return label, OK, f"{stored.height} rows"


class _AsItIs(Study):
    """A study whose files are read even where they are not as written, to see what follows."""

    def __init__(self, study: Study) -> None:
        self.path, self.manifest, self._verified = study.path, study.manifest, set()

    def _verify(self, path: Path, told: object) -> None:
        if not path.is_file():  # a pipe in its place would be waited for
            raise StudyError(f"the file {str(path)!r} is missing")


def _files_are_as_written(study: Study) -> Iterator[Finding]:
    rows = {f"{name}.parquet": f"{t.rows} rows" for name, t in study.manifest.tables.items()}
    for name, told in study.manifest.written().items():
        path = study.path / name
        if not path.is_file():
            yield f"file {name}", FAILED, "it is missing"
        elif file_hash(path) != told:
            yield f"file {name}", FAILED, "it is not the file that the study wrote"
        else:
            yield f"file {name}", OK, rows.get(name, f"{path.stat().st_size:,} bytes")


def _parts_do_not_overlap(study: Study) -> Iterator[Finding]:
    examples = study.examples
    parts = parts_of(examples)
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in parts._asdict().items())
    yield "no example in two parts", OK, sizes
    if "text" in examples.columns and not examples["text"].has_nulls():
        groups = pl.Series("near duplicates", near_duplicate_groups(examples["text"], NEAR))
        try:
            check_apart(groups.cast(pl.String), examples["part"])
            yield "no near duplicates in two parts", OK, f"Jaccard index below {NEAR} throughout"
        except LeakError as error:
            yield "no near duplicates in two parts", FAILED, str(error)


def _ids_are_of_content(study: Study) -> Iterator[Finding]:
    examples = study.examples
    if "text" in examples.columns and not examples["text"].has_nulls():
        wrong = [
            id for id, own in zip(examples["id"], content_ids(examples["text"]), strict=True) if id != own
        ]
        detail = f"{len(wrong)} texts are not those of their ids, such as {wrong[:1]}"
        yield "ids are of the texts", FAILED if wrong else OK, detail if wrong else f"{examples.height} texts"


def _examples_serve_one_purpose(study: Study) -> Iterator[Finding]:
    """Whatever a describer saw is from the first part; whatever counts as evidence is not."""
    ids = study.examples["id"].to_numpy()
    parts: Parts = parts_of(study.examples)
    describe, score = (set(ids[rows.rows].tolist()) for rows in (parts.describe, parts.score))
    uses: list[tuple[str, set[str], set[str]]] = []
    tables = study.manifest.tables
    if "exemplars" in tables:
        first = study.exemplars.filter(part=DESCRIBE)
        uses.append(("exemplars that were described", set(first["example"]), describe))
    if "candidates" in tables:
        uses.append(("candidates", set(study.table("candidates")["example"]), describe))
    if "descriptions" in tables:
        sources = set(study.descriptions["sources"].explode().drop_nulls()) & set(ids.tolist())
        uses.append(("sources of descriptions", sources, describe))
    if "counterexamples" in tables:
        uses.append(("counterexamples", set(study.table("counterexamples")["example"]), score))
    for name, used, allowed in uses:
        wrong = sorted(used - allowed)
        if wrong:
            yield name, FAILED, f"{len(wrong)} examples are of another part, such as {wrong[0]!r}"
        else:
            yield name, OK, f"{len(used)} examples, all of their part"
    if "scores" in tables:
        other = study.scores.filter(pl.col("part") != SCORE)
        yield (
            "scores",
            FAILED if other.height else OK,
            f"all of the part {SCORE!r}" if not other.height else f"{other.height} are of another part",
        )


def _scores_stand_above_their_floors(study: Study) -> Iterator[Finding]:
    if "floors" not in study.manifest.tables or study.scores.is_empty():  # put to another test
        return
    keys = ["unit", "description", "measure", "reader"]
    if (study.scores["scorer_version"] == SCORER_VERSION).all():
        twice = (
            study.scores.group_by("description").agg(pl.col("decides").sum()).filter(pl.col("decides") != 1)
        )
        detail = (
            f"of {twice.height} descriptions none does, or several" if twice.height else "of each description"
        )
        yield "one reader decides", FAILED if twice.height else OK, detail
    best = study.table("floors").group_by(keys).agg(best=pl.col("value").max())
    scores = study.scores.join(best, on=keys, how="left").drop_nulls("control")
    gap = (scores["control"] - scores["best"]).abs().max()
    wrong = scores.filter((pl.col("control") - pl.col("best")).abs() > CLOSE)
    detail = f"largest difference {gap or 0:.1g}"
    yield "control is the best floor", FAILED if wrong.height else OK, detail
    verified = scores.filter(status="verified")
    bad = verified.filter((pl.col("skill_low") <= 0) | (pl.col("q") > 0.05))
    yield (
        "verified means skill above 0 at q of 0.05",
        FAILED if bad.height else OK,
        (f"{verified.height} verified"),
    )


def _units_follow_from_responses(study: Study) -> Iterator[Finding]:
    """Tables and figures of whatever has units, from their stored responses."""
    if RESPONSES not in study.manifest.steps or study.manifest.config.get("firing") == GIVEN:
        return  # where units fire that were planted is not stored
    older = _older(study)
    if older is not None:
        yield f"scorer version {older}", OK, "read; figures are derived again by the version that wrote them"
        return
    run = stored_run(study, *own_of(study))
    for table, again in tables_again(run):
        yield _compared(study, table, again)
    figures = []
    for each in figures_again(run):
        if isinstance(each, Metric):
            figures.append(each)
        else:
            yield _compared(study, *each)
    yield from _figures(study, figures)


def _older(study: Study) -> int | None:
    """The scorer that made a study's scores, where it is not today's."""
    versions = study.scores["scorer_version"].unique() if "scores" in study.manifest.tables else []
    return next((int(version) for version in versions if version != SCORER_VERSION), None)


def _compared(study: Study, table: Table, again: pl.DataFrame) -> Finding:
    stored = study.table(table).select(again.columns)
    if table is DESCRIPTIONS:  # of a describer whose evidence is elsewhere, nothing is made again
        stored = stored.filter(pl.col("id").is_in(again["id"].implode()))
    return compare_tables(table.name, _by_those(stored, again), again, table.key)


def _by_those(stored: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """A table's rows without those of readers whose encoder cannot be had here."""
    if "reader" not in again.columns:
        return stored
    return stored.filter(pl.col("reader").is_in(again["reader"].unique().implode()))


def _figures(study: Study, again: Sequence[Any]) -> Iterator[Finding]:
    new = {metric.name: metric.model_dump() for metric in again}
    for metric in study.headline():
        stored = metric.model_dump()
        if metric.name not in new:
            yield f"figure {metric.name}", FAILED, "it does not follow from the tables"
            continue
        wrong = [key for key in stored if not agrees(stored[key], new[metric.name][key])]
        if wrong:
            detail = f"{wrong[0]} is {stored[wrong[0]]!r}, not {new[metric.name][wrong[0]]!r}"
            yield f"figure {metric.name}", FAILED, detail
        else:
            yield f"figure {metric.name}", OK, _shown(metric.value)
    stored = {metric.name for metric in study.headline()}
    for name in (name for name in new if name not in stored):
        yield f"figure {name}", FAILED, "it follows from the tables, and is not there"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"{len(value)}, the first {value[0]}" if value else "none"
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


_ALL = [
    _files_are_as_written,
    _parts_do_not_overlap,
    _ids_are_of_content,
    _examples_serve_one_purpose,
    _scores_stand_above_their_floors,
]
