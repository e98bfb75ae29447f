"""A study on disk: open one to read, or write one step by step.

    with write_study(folder, kind="neurons", command=..., config=..., inputs=...) as study:
        examples = study.table(EXAMPLES, lambda: load(...))

A step makes tables and other files. They are written first, then `study.json` names them with their
hashes in one replacement: the step is done, or it never was. When the same command is given again,
a step that is done is not made again, unless

* a file of it is missing or is not what was written,
* questions of it had no answer for an outside reason (`failed`: an outage), or
* something that it was made from was made again and came out differently.

So there is one way to mend an outage, damage and lost files: the same command.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from saywell.errors import SaywellError, SchemaError, StudyError
from saywell.store import upgrade
from saywell.store.files import (
    file_hash,
    is_temporary,
    read_parquet,
    scan_parquet,
    storing,
    sweep,
    write_json,
    write_parquet,
)
from saywell.store.table import UNANSWERED, Table, check_key

if TYPE_CHECKING:
    from saywell.report.card import Unit

STUDY_VERSION = 3
"""Raised when older studies cannot be gone on with; `upgrade` says which of them are read."""
METRICS, REPORT = "metrics.json", "report.html"
_REASON = 600
_MOST_NEAR = 200
_MOST_BYTES = 64 * 2**20
"""Of study.json, which takes some kilobytes."""
_VERSIONS_OF = ("saywell", "torch", "transformers", "sentence-transformers", "polars", "numpy")


class StoredTable(BaseModel):
    """What the manifest says about a table."""

    model_config = ConfigDict(extra="forbid")
    schema_version: int
    rows: int
    hash: str
    seconds: float
    columns: dict[str, str] = Field(default_factory=dict)
    """Types by name, in order. Studies of format 2 do not say."""
    key: list[str] = Field(default_factory=list)


class Step(BaseModel):
    """What was made together, and became part of the study in one moment."""

    model_config = ConfigDict(extra="forbid")
    tables: list[str] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)
    """Other files, by their path in the study's folder, with their hashes."""
    hash: str
    """Of all that the step made: whether making it again changed anything."""
    uses: list[str] | None = None
    """The steps it was made from; null: all before it."""
    failed: int = 0
    """Questions without an answer for an outside reason; the next run asks them again."""
    asked: list[str] = Field(default_factory=list)
    """Whose rows in the table `unanswered` are of this step."""
    notes: list[str] = Field(default_factory=list)
    seconds: float = 0.0


class Manifest(BaseModel):
    """The content of study.json."""

    model_config = ConfigDict(extra="forbid")
    schema_version: int = STUDY_VERSION
    kind: str
    status: str = "running"
    stopped_by: str | None = None
    """What ended the last run, where `status` is "stopped"."""
    command: list[str]
    config: dict[str, Any]
    inputs: dict[str, str]
    """Fingerprints of what was read: the data, the models."""
    versions: dict[str, str]
    started: str
    finished: str | None = None
    tables: dict[str, StoredTable] = Field(default_factory=dict)
    steps: dict[str, Step] = Field(default_factory=dict)
    """In the order in which they were made."""
    notes: list[str] = Field(default_factory=list)
    """What a reader of the figures has to know, in sentences."""
    cost: dict[str, float | int | None] = Field(default_factory=dict)
    hash: str = ""
    """Of everything else in study.json."""

    @property
    def failed(self) -> int:
        """Questions that the next run asks again."""
        return sum(step.failed for step in self.steps.values())

    def written(self) -> dict[str, str]:
        """All files of the study, by their path in its folder, with their hashes."""
        files = {f"{name}.parquet": stored.hash for name, stored in self.tables.items()}
        for step in self.steps.values():
            files |= step.files
        return files

    def content_hash(self) -> str:
        """What `hash` should be."""
        return _content_hash(self.model_dump())


class Metric(BaseModel):
    """A headline figure: never without its interval, its n and its controls."""

    model_config = ConfigDict(extra="forbid")
    name: str
    """For people to read; what it says is in `figure` and `by`."""
    figure: str = ""
    """What is measured, such as "precision@2"; a study may hold a figure several times."""
    by: dict[str, str | int | bool] = Field(default_factory=dict)
    """What tells it from others of the same figure: its rule, reader, tags, shots ..."""
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    of: str
    """What n counts."""
    controls: dict[str, float | None] = Field(default_factory=dict)
    """The same figure for what should fail."""
    controls_n: dict[str, int] = Field(default_factory=dict)
    """Of a share, what n is for each of its controls."""
    ceiling: dict[str, float | None] = Field(default_factory=dict)
    """The most that the figure can be here: a bound, which no value exceeds."""
    reference: dict[str, float | None] = Field(default_factory=dict)
    """The same figure for another way to get there, which is no bound: a probe, more training."""
    higher_is_better: bool = True
    note: str = ""
    """What a reader of this figure has to know, in a sentence."""

    @model_validator(mode="after")
    def _named(self) -> Metric:
        self.figure = self.figure or self.name
        return self


def deciding_rows(scores: pl.DataFrame) -> pl.DataFrame:
    """Of each description the row of table `scores` that decides; the first in studies that do not say."""
    if "decides" in scores.columns:
        return scores.filter("decides")
    return scores.unique(["unit", "description"], keep="first", maintain_order=True)


class Study:
    """A study folder, open for reading."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self._verified: set[Path] = set()

    def table(self, table: Table | str) -> pl.DataFrame:
        """One table, checked against its hash and against what the study says of its columns.

        Given as a `Table`, it also has those columns and types that the table promises.

        Raises StudyError for a table that is not there or not as it was written, SchemaError for one
        with other columns.
        """
        name = table if isinstance(table, str) else table.name
        unseen = self.path / f"{name}.parquet" not in self._verified
        frame = read_parquet(self.verify(name))
        if self._old:
            frame = upgrade.upgraded_table(name, frame)
            return frame if isinstance(table, str) else table.check(frame)
        columns = self._columns(table, frame.schema)
        stored = self.manifest.tables[name].key
        if unseen:  # it is as it was written, and will be
            check_key(name, stored, frame)
        if not isinstance(table, str) and list(table.key) != stored:
            check_key(name, table.key, frame)
        return frame.select(columns)

    def scan(self, table: Table | str) -> pl.LazyFrame:
        """One table, of which only those rows and columns are read that are asked for.

        Checked as `table` checks it, but for whether its key tells all rows apart.
        """
        name = table if isinstance(table, str) else table.name
        if self._old:
            return self.table(table).lazy()
        lazy = scan_parquet(self.verify(name))
        return lazy.select(self._columns(table, lazy.collect_schema()))

    @property
    def _old(self) -> bool:
        """Whether it is of an earlier version."""
        return self.manifest.schema_version != STUDY_VERSION

    def _columns(self, table: Table | str, schema: Mapping[str, pl.DataType]) -> list[str]:
        """The columns of a stored table in order. Raises SchemaError where they are not what was promised."""
        name = table if isinstance(table, str) else table.name
        stored = self.manifest.tables[name]
        has = {column: str(dtype) for column, dtype in schema.items()}
        if has != stored.columns:
            raise SchemaError(f"table {name!r} has columns {has}, and study.json says {stored.columns}")
        if isinstance(table, str):
            return list(schema)
        if stored.schema_version != table.version:
            raise SchemaError(
                f"table {name!r} of the study {str(self.path)!r} has version {stored.schema_version}, this"
                f" saywell reads {table.version}; the command that wrote the study makes it again elsewhere"
            )
        return table.check_columns(schema)

    def verify(self, name: str) -> Path:
        """Where a table is, after a look at its hash: StudyError for one that is not as written."""
        path = self.path / f"{name}.parquet"
        if name not in self.manifest.tables:
            tables = ", ".join(self.manifest.tables) or "none"
            raise StudyError(
                f"the study {str(self.path)!r} has no table {name!r}; its tables are {tables}"
                + ("" if self.manifest.status == "complete" else "; it is not finished yet")
            )
        self._verify(path, lambda manifest: manifest.tables[name].hash)
        return path

    def has(self, name: str) -> bool:
        """Whether the study has a file that is no table, such as `metrics.json`."""
        if not self.manifest.steps:  # of an earlier version, which named tables only
            return (self.path / name).exists()
        return any(name in step.files for step in self.manifest.steps.values())

    def file(self, name: str) -> Path:
        """Where such a file is, after a look at its hash.

        Raises StudyError for one that the study does not have, and one that is not as written.
        """
        path = self.path / name
        if not self.has(name):
            raise StudyError(f"the study {str(self.path)!r} has no {name!r} yet; run it to the end")
        if self.manifest.steps:
            self._verify(path, lambda manifest: manifest.written()[name])
        return path

    def _verify(self, path: Path, told: Callable[[Manifest], str]) -> None:
        if path in self._verified:
            return
        found = file_hash(path) if path.is_file() else ""
        if found != told(self.manifest):
            # A run that goes on may have made it again since this study was opened.
            with suppress(KeyError):
                latest = _read_manifest(self.path)
                if found == told(latest):
                    self.manifest = latest
                    return
            raise StudyError(
                f"the file {str(path)!r} is "
                + ("not what the study wrote" if found else "missing")
                + "; the command that made the study makes it again"
            )
        self._verified.add(path)

    @property
    def examples(self) -> pl.DataFrame:
        """The data that was studied."""
        return self.table("examples")

    @property
    def units(self) -> pl.DataFrame:
        """What was described."""
        return self.table("units")

    @property
    def exemplars(self) -> pl.DataFrame:
        """The strongest examples of every unit."""
        return self.table("exemplars")

    @property
    def descriptions(self) -> pl.DataFrame:
        """A description per unit, or why there is none."""
        return self.table("descriptions")

    @property
    def scores(self) -> pl.DataFrame:
        """How well each description holds on held-out examples."""
        return self.table("scores")

    @property
    def hypotheses(self) -> pl.DataFrame:
        """What goes with the target, and what came of its test, best first: of a study of hypotheses."""
        return self.table("hypotheses")

    def verdicts(self) -> pl.DataFrame:
        """One row per description: its score by the reader who decides."""
        return deciding_rows(self.scores)

    @property
    def metrics(self) -> pl.DataFrame:
        """The headline figures as a table."""
        return pl.DataFrame([metric.model_dump() for metric in self.headline()], infer_schema_length=None)

    def headline(self) -> list[Metric]:
        """The headline figures."""
        path = self.file(METRICS)
        try:
            rows = json.loads(path.read_bytes())
            if self.manifest.schema_version != STUDY_VERSION:
                rows = map(upgrade.upgraded_metric, rows)
            return [Metric.model_validate(row) for row in rows]
        except (ValueError, TypeError, RecursionError, OSError) as error:
            raise StudyError(f"{str(path)!r} does not hold the figures of a study") from error

    def unit(self, name: str, *, examples: int = 8) -> Unit:
        """One unit (or one class, by its name): description, scores by reader, examples.

        Raises InputError for a unit that the study does not have; the message names the nearest.
        """
        from saywell.report.card import read_unit

        return read_unit(self, name, examples=examples)

    def search(self, words: str, *, limit: int = 20) -> pl.DataFrame:
        """Units whose description or strong examples say all the words, best first.

        The columns are those of `tidy`, and `found`: how many of the strong examples say them.
        """
        from saywell.report.listing import search_units

        return search_units(self, words, limit=limit)

    def tidy(self) -> pl.DataFrame:
        """One row per unit: its words, score and floor, who verifies it, and one example.

        Best first; see `saywell.report.listing.tidy_table` for the columns.
        """
        from saywell.report.listing import tidy_table

        return tidy_table(self)

    def best(self, number: int = 10) -> list[Unit]:
        """A few verified units to begin with: of sure skill, short, and unlike each other."""
        from saywell.report.listing import best_units

        return best_units(self, number)

    def readers(self) -> pl.DataFrame:
        """By reader: how many descriptions it tested, and how many of them it verifies."""
        from saywell.report.listing import readers_of

        return readers_of(self)

    def is_being_written(self) -> bool:
        """Whether a process holds the study's lock now."""
        from filelock import FileLock, Timeout

        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder that may only be read is nobody's to write
            return False

    def arrays(self, name: str) -> Path:
        """The folder of one kind of array."""
        return self.path / "arrays" / name

    def __repr__(self) -> str:
        described = ""
        with suppress(StudyError):  # of a damaged study, too, there is something to show
            described = f", {self.descriptions.filter(status='described').height} described"
        return f"Study({str(self.path)!r}, {self.manifest.kind}, {self.manifest.status}{described})"

    def _repr_html_(self) -> str:
        """A compact card for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(m.name)}</td><td style='text-align:right'>{_figure(m)}</td></tr>"
            for m in (self.headline() if self.has(METRICS) else [])
        )
        return f"<div><b>{escape(repr(self))}</b><table>{rows}</table></div>"


class StudyWriter(Study):
    """A study that this process is writing. Made by `write_study`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self._damaged = _damaged(path, manifest)
        self._verified = {path / name for name in manifest.written() if name not in self._damaged}
        self._passed: list[str] = []
        self._step: _Making | None = None
        self._loose = [] if manifest.steps else list(manifest.notes)
        self.finished = (
            manifest.status == "complete"
            and bool(manifest.steps)
            and not self._damaged
            and not manifest.failed
        )
        """Whether there is nothing left to do."""

    def table(
        self,
        table: Table | str,
        make: Callable[[], pl.DataFrame] | None = None,
        *,
        uses: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The stored table; with `make`, a step of its own that makes it where it is not done."""
        if make is not None:
            if isinstance(table, str):
                raise SchemaError(
                    f"the table {table!r} is made of nothing that says its columns: give a Table"
                )
            made = self.step(table.name, lambda: (make(),), tables=(table,), uses=uses)
            if made is not None:
                return made[0]
        return super().table(table)

    def tables(
        self,
        tables: Sequence[Table],
        make: Callable[[], tuple[pl.DataFrame, ...]],
        *,
        files: Sequence[str] = (),
        uses: Sequence[str] | None = None,
    ) -> None:
        """Several tables of one step, called by the first: made together, part of the study together.

        `files` are files and folders below the study's that `make` writes beside them.
        """
        self.step(tables[0].name, make, tables=tables, files=files, uses=uses)

    def step(
        self,
        name: str,
        make: Callable[[], Sequence[pl.DataFrame] | None],
        *,
        tables: Sequence[Table] = (),
        files: Sequence[str] = (),
        uses: Sequence[str] | None = None,
    ) -> list[pl.DataFrame] | None:
        """Make `tables` and `files` (or folders) and store them, unless the step is done already.

        `uses` names the steps that it is made from; by default it is all that came before. None
        where it was done, otherwise the tables.
        """
        earlier = self.manifest.steps.get(name)
        if earlier is not None and not {table.name for table in tables} <= set(earlier.tables):
            earlier = None
        if earlier is not None and not earlier.failed and not self._is_damaged(earlier):
            self._passed.append(name)
            return None
        if earlier is not None:
            for path in set(earlier.files) & self._damaged:
                (self.path / path).unlink(missing_ok=True)
        outer, self._step = self._step, _Making()  # a step may call for another
        started = time.monotonic()
        try:
            frames = [table.check(frame) for table, frame in zip(tables, make() or (), strict=True)]
            self._commit(name, earlier, list(zip(tables, frames, strict=True)), files, uses, started)
        finally:
            self._step = outer
        return frames

    def made_from(self, uses: Sequence[str] | None = None) -> str:
        """What a step that begins now is made from, as a hash: inputs, settings, and steps before.

        It tells files of a step that was not finished from files that belong to something else.
        """
        used = self._passed if uses is None else uses
        hashes = [self.manifest.steps[name].hash for name in used]
        run = [self.manifest.kind, self.manifest.config, self.manifest.inputs]
        return _digest(json.dumps([run, hashes], sort_keys=True))

    def unanswered(self, step: str, rows: pl.DataFrame) -> None:
        """What this step asked under the name `step` and got no answer to; empty if it got all.

        Those with the status "failed" are asked again by the next run. An item that was asked about
        more than once stands there once, as "failed" if any question about it did.
        """
        if self._step is None:
            raise StudyError(f"questions of {step!r} belong to a step; ask them while it is made")
        rows = rows.sort(pl.col("status") != "failed", maintain_order=True)
        once = rows.unique("item", keep="first", maintain_order=True)
        self._step.unanswered[step] = UNANSWERED.check(once)

    def note(self, sentence: str) -> None:
        """Something that a reader of the figures has to know; part of the step that is being made.

        Notes outside of steps are those of a run, and each run makes its own.
        """
        notes = self._loose if self._step is None else self._step.notes
        if sentence not in notes:
            notes.append(sentence)

    def write_metrics(self, metrics: list[Metric]) -> None:
        """Store the headline figures."""
        self.again(METRICS, lambda path: write_json(path, [m.model_dump() for m in metrics]))

    def again(self, file: str, write: Callable[[Path], Any]) -> None:
        """A step that every run makes, cheap as it is, and that leaves one file."""
        self._step = _Making()
        try:
            started = time.monotonic()
            write(self.path / file)
            self._commit(file, self.manifest.steps.get(file), [], (file,), None, started)
        finally:
            self._step = None

    def report(self, write: Callable[[Study], Any]) -> None:
        """Have `write` leave `report.html`, of the study as it will be saved next."""
        self.manifest.notes = self._notes()
        write(self)
        hashes = {REPORT: file_hash(self.path / REPORT)}
        self.manifest.steps[REPORT] = Step(files=hashes, hash=_digest(hashes[REPORT]))

    def save(self) -> None:
        """Write study.json."""
        self.manifest.notes = self._notes()
        self.manifest.hash = self.manifest.content_hash()
        write_json(self.path / "study.json", self.manifest.model_dump(), durable=True)

    def _notes(self) -> list[str]:
        manifest = self.manifest
        own = [note for step in manifest.steps.values() for note in step.notes]
        failed = [
            f"{step.failed} questions of the step {name!r} had no answer for an outside reason; the"
            " same command asks them again."
            for name, step in manifest.steps.items()
            if step.failed
        ]
        return list(dict.fromkeys([*own, *self._loose, *failed]))

    def _is_damaged(self, step: Step) -> bool:
        files = [*step.files, *(f"{name}.parquet" for name in step.tables)]
        return not self._damaged.isdisjoint(files)

    def _commit(
        self,
        name: str,
        earlier: Step | None,
        own: list[tuple[Table, pl.DataFrame]],
        files: Sequence[str],
        uses: Sequence[str] | None,
        started: float,
    ) -> None:
        assert self._step is not None
        manifest, making = self.manifest, self._step
        tables = list(own)
        if making.unanswered or (earlier is not None and earlier.asked):
            asked = {*making.unanswered, *(earlier.asked if earlier is not None else ())}
            tables.append((UNANSWERED, self._with_unanswered(name, asked, making.unanswered)))
        seconds = round(time.monotonic() - started, 3)
        stored = {}
        for table, frame in tables:
            path = self.path / f"{table.name}.parquet"
            write_parquet(path, frame)
            stored[table.name] = StoredTable(
                schema_version=table.version,
                rows=frame.height,
                hash=file_hash(path),
                seconds=seconds,
                columns={column: str(dtype) for column, dtype in frame.schema.items()},
                key=list(table.key),
            )
        hashes = {path: file_hash(self.path / path) for path in _below(self.path, files)}
        lost = pl.concat([UNANSWERED.empty(), *making.unanswered.values()], how="diagonal")
        step = Step(
            tables=list(stored),
            files=hashes,
            hash=_digest(
                json.dumps([[stored[table.name].hash for table, _ in own], hashes, lost.write_ndjson()])
            ),
            uses=None if uses is None else list(uses),
            failed=lost.filter(status="failed").height,
            asked=list(making.unanswered),
            notes=making.notes,
            seconds=seconds,
        )
        if earlier is not None and earlier.hash != step.hash:
            self._drop_what_follows_from(name)
        manifest.steps[name] = step
        manifest.tables |= stored
        written = {*hashes, *(f"{table}.parquet" for table in stored)}
        self._damaged -= written
        self._verified -= {self.path / name for name in written}
        self._passed.append(name)
        manifest.status, manifest.finished, self.finished = "running", None, False
        self.save()

    def _with_unanswered(self, name: str, asked: set[str], rows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """Table `unanswered` with the rows of this step in the place of those it had."""
        frames = [UNANSWERED.empty(), *rows.values()]
        if f"{UNANSWERED.name}.parquet" in self._damaged:
            # Nobody else's rows can be read either: whoever has some, asks again.
            for other, step in list(self.manifest.steps.items()):
                if step.asked and other != name:
                    self._drop(other)
        elif UNANSWERED.name in self.manifest.tables:
            before = super().table(UNANSWERED)
            frames.insert(1, before.filter(~pl.col("step").is_in(list(asked))))
        return pl.concat(frames, how="diagonal").sort("step", "item")

    def _drop_what_follows_from(self, name: str) -> None:
        """Take out of the study what was made from a step that came out differently this time."""
        gone = {name}
        for other, step in list(self.manifest.steps.items()):
            before = other in self._passed or other == name
            if not before and (step.uses is None or not gone.isdisjoint(step.uses)):
                gone.add(other)
                self._drop(other)
        kept = {table for step in self.manifest.steps.values() for table in step.tables}
        for table in list(self.manifest.tables):
            if table not in kept:
                del self.manifest.tables[table]

    def _drop(self, name: str) -> None:
        step = self.manifest.steps.pop(name)
        for table in step.tables:
            if table != UNANSWERED.name:
                self.manifest.tables.pop(table, None)


class _Making:
    """What a step says while it is made."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.unanswered: dict[str, pl.DataFrame] = {}


@contextmanager
def write_study(
    path: str | Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    command: list[str] | None = None,
    report: Callable[[Study], Any] | None = None,
) -> Iterator[StudyWriter]:
    """Begin a study, or go on with one that was stopped; only one process at a time.

    `report` writes `report.html` into the folder of the complete study. Where an earlier run left
    nothing to do, the study's `finished` says so, and nothing is written.

    Raises StudyError when another process is writing it, and when the folder holds a study made
    from other inputs or with other settings; the message shows both values of each.
    """
    from filelock import FileLock, Timeout

    folder = Path(path)
    refuse_folder(folder)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(_written_by_another(folder)) from None
    try:
        sweep(folder)
        manifest = Manifest(
            kind=kind,
            command=command or [],
            config=json.loads(json.dumps(config)),
            inputs=dict(inputs),
            versions=_versions(),
            started=_now(),
        )
        if (folder / "study.json").exists():
            earlier = _read_manifest(folder)
            _refuse_differences(folder, earlier, manifest)
            manifest = earlier
        study = StudyWriter(folder, manifest)
        if study.finished and (report is None or REPORT in manifest.steps):
            yield study
            return
        study.finished = False
        study.manifest.status, study.manifest.stopped_by = "running", None
        study.save()
        try:
            yield study
            study.manifest.status = "complete"
            study.manifest.finished = study.manifest.finished or _now()
            if report is not None:
                study.report(report)
            study.save()
        except BaseException as error:
            study.manifest.status, study.manifest.stopped_by = "stopped", _reason(error)
            with suppress(StudyError):  # what stopped the run may stop this, too
                study.save()
            raise
    finally:
        lock.release()


def refuse_folder(folder: Path) -> None:
    """Raises what is wrong with a folder for a study that is to be begun there, or gone on with.

    StudyError where it is none or holds something else, StorageError where nothing can be written.
    """
    with storing(folder):
        if folder.exists() and not folder.is_dir():
            raise StudyError(f"{str(folder)!r} is a file; a study is a folder: choose another --out")
        if folder.is_dir() and not (folder / "study.json").exists() and _holds_files(folder):
            raise StudyError(
                f"{str(folder)!r} holds files but no study; choose an empty or new folder for --out"
            )
        above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def refuse_study(
    path: str | Path, *, kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]
) -> None:
    """Raises what `write_study` would for the same arguments, and writes nothing."""
    folder = Path(path)
    refuse_folder(folder)
    if (folder / "study.json").exists():
        earlier = Study(folder)
        if earlier.is_being_written():
            raise StudyError(_written_by_another(folder))
        wanted = earlier.manifest.model_copy(
            update={"kind": kind, "config": json.loads(json.dumps(config)), "inputs": dict(inputs)}
        )
        _refuse_differences(folder, earlier.manifest, wanted)


def _written_by_another(folder: Path) -> str:
    return f"another process is writing the study {str(folder)!r}; wait for it or choose another --out"


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "study.json"
    with storing(path):
        if not path.is_file():
            raise StudyError(_no_study(folder))
        if path.stat().st_size > _MOST_BYTES:
            raise StudyError(f"{str(path)!r} is not a manifest that saywell wrote: it is too large")
        content = path.read_bytes()
    try:
        told = json.loads(content)
        version = told["schema_version"]
        writer = dict(told.get("versions") or {}).get("saywell")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StudyError(f"{str(path)!r} is not a manifest that saywell wrote: {error}") from error
    if version not in (STUDY_VERSION, upgrade.FORMAT):
        raise StudyError(
            f"the study {str(folder)!r} has format {version!r}, this saywell reads"
            f" {STUDY_VERSION} and {upgrade.FORMAT}; use the version that wrote it (saywell {writer})"
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StudyError(
            f"{str(path)!r} is not a manifest that this saywell wrote"
            f" ({'.'.join(map(str, first['loc']))}: {first['msg']}); saywell {writer} wrote it"
        ) from error
    if manifest.hash and manifest.hash != _content_hash(told):
        raise StudyError(
            f"{str(path)!r} is not as the study wrote it; bring back a copy, or delete the study to"
            " make it anew"
        )
    return manifest


def _content_hash(told: Mapping[str, Any]) -> str:
    """Of everything in study.json but the hash itself."""
    rest = {name: value for name, value in told.items() if name != "hash"}
    return _digest(json.dumps(rest, sort_keys=True))


def _no_study(folder: Path) -> str:
    """What is wrong with a folder that is no study, and the nearest that is one."""
    from difflib import get_close_matches

    what = "has no study.json, so it is not a study" if folder.is_dir() else "is not there"
    if folder.is_file():
        what = "is a file, and a study is a folder"
    start = next((place for place in (folder, *folder.parents) if place.is_dir()), Path())
    found = sorted(
        {
            place.parent
            for pattern in ("*/study.json", "*/*/study.json")
            for place in itertools.islice(start.glob(pattern), _MOST_NEAR)
        }
    )
    inside = [place for place in found if folder.is_dir()]
    near = get_close_matches(str(folder), [str(place) for place in found], n=1, cutoff=0.7)
    if inside:
        hint = "; studies in it: " + ", ".join(map(str, inside[:3]))
    else:
        hint = f"; did you mean {near[0]!r}?" if near else "; give the folder named by --out"
    return f"{str(folder)!r} {what}{hint}"


def _damaged(folder: Path, manifest: Manifest) -> set[str]:
    """Files that are missing or are not what was written, as paths in the folder."""
    return {
        name
        for name, told in manifest.written().items()
        if not (folder / name).is_file() or file_hash(folder / name) != told
    }


def _below(folder: Path, names: Iterable[str]) -> list[str]:
    """Files by name, and those in folders by name, as paths in `folder`."""
    found = []
    for name in names:
        place = folder / name
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found += [item.relative_to(folder).as_posix() for item in inside if item.is_file()]
    return found


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _refuse_differences(folder: Path, stored: Manifest, wanted: Manifest) -> None:
    if stored.schema_version != STUDY_VERSION:
        raise StudyError(
            f"the study {str(folder)!r} has format {stored.schema_version}, which this saywell reads"
            " and does not go on with: choose another --out, or delete the study to make it anew"
        )
    told: dict[str, str] = {}
    # What a setting says of an input, such as a file's name, says more than its fingerprint: it comes last.
    for old, new in (
        (stored.inputs, wanted.inputs),
        ({"kind": stored.kind}, {"kind": wanted.kind}),
        (stored.config, wanted.config),
    ):
        for name in sorted({*old, *new}):
            before, now = old.get(name), new.get(name)
            if before != now:
                prints = all(re.fullmatch(r"[0-9a-f]{32}\S*", str(one)) for one in (before, now))
                how = "not the same content" if prints else f"the study has {before!r}, this run has {now!r}"
                told[name] = f"  {name}: {how}"
    differences = [told[name] for name in sorted(told)]
    if differences:
        raise StudyError(
            f"the study {str(folder)!r} was made with other inputs:\n"
            + "\n".join(differences)
            + "\nchoose another --out, or delete the study to make it anew"
        )


def _holds_files(folder: Path) -> bool:
    """Whether a folder holds something that is not ours; calls may be stored before the rest."""
    return any(
        item.name != ".lock" and not item.name.startswith("calls.sqlite") and not is_temporary(item)
        for item in folder.iterdir()
    )


def _reason(error: BaseException) -> str:
    """Why a run ended, in words that a person can act on."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    words = str(error) if isinstance(error, SaywellError) else f"{type(error).__name__}: {error}"
    return words if len(words) <= _REASON else words[: _REASON - 1] + "…"


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS_OF:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _figure(metric: Metric) -> str:
    if metric.value is None:
        return "no answer"
    return f"{metric.value:.3f} [{metric.ci_low:.3f}, {metric.ci_high:.3f}]"
