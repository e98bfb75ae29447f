"""A study on disk: open one to read, or write one step by step.

    with write_study(folder, kind="neurons", command=..., config=..., inputs=...) as study:
        examples = study.table("examples", lambda: load(...))

`study.table(name, make)` returns the stored table when an earlier run finished it and makes, checks
and stores it otherwise. That is all there is to resuming: a step is done when its table is there.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saywell.errors import SaywellError, StudyError
from saywell.store.files import file_hash, write_json, write_parquet
from saywell.store.schemas import SCHEMAS, STUDY_VERSION, check_table

if TYPE_CHECKING:
    from saywell.store.records import Unit

_REASON = 600
_MOST_NEAR = 200
_VERSIONS_OF = ("saywell", "torch", "transformers", "sentence-transformers", "polars", "numpy")


class StoredTable(BaseModel):
    """What the manifest says about a table."""

    model_config = ConfigDict(extra="forbid")
    schema_version: int
    rows: int
    hash: str
    seconds: float


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
    notes: list[str] = Field(default_factory=list)
    """What a reader of the figures has to know, in sentences."""
    cost: dict[str, float | int | None] = Field(default_factory=dict)


class Metric(BaseModel):
    """A headline figure: never without its interval, its n and its controls."""

    model_config = ConfigDict(extra="forbid")
    name: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    of: str
    """What n counts."""
    controls: dict[str, float | None] = Field(default_factory=dict)
    """The same figure for what should fail."""
    ceiling: dict[str, float | None] = Field(default_factory=dict)
    """The most that the figure can be here: a bound, which no value exceeds."""
    reference: dict[str, float | None] = Field(default_factory=dict)
    """The same figure for another way to get there, which is no bound: a probe, more training."""
    higher_is_better: bool = True


class Study:
    """A study folder, open for reading."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)

    def table(self, name: str) -> pl.DataFrame:
        """One table, checked against its schema."""
        if name not in SCHEMAS:
            raise StudyError(f"no table {name!r} in a study; the tables are {', '.join(SCHEMAS)}")
        path = self.path / f"{name}.parquet"
        if not path.exists():
            raise StudyError(
                f"the study {str(self.path)!r} has no table {name!r}"
                + ("" if self.manifest.status == "complete" else "; it is not finished yet")
            )
        return check_table(name, pl.read_parquet(path))

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

    def verdicts(self) -> pl.DataFrame:
        """One row per description: its score by the scorer that decides, the first of `scores`."""
        keys = ["unit", "description"]
        return self.scores.unique(keys, keep="first", maintain_order=True)

    @property
    def metrics(self) -> pl.DataFrame:
        """The headline figures as a table."""
        return pl.DataFrame(
            [metric.model_dump() for metric in self.headline()], infer_schema_length=None
        )

    def headline(self) -> list[Metric]:
        """The headline figures."""
        path = self.path / "metrics.json"
        if not path.exists():
            raise StudyError(f"the study {str(self.path)!r} has no figures yet; run it to the end")
        return [Metric.model_validate(row) for row in json.loads(path.read_text("utf-8"))]

    def unit(self, name: str, *, examples: int = 8) -> Unit:
        """One unit (or one class, by its name): description, scores by reader, examples.

        Raises InputError for a unit that the study does not have; the message names the nearest.
        """
        from saywell.store.records import read_unit

        return read_unit(self, name, examples=examples)

    def search(self, words: str, *, limit: int = 20) -> pl.DataFrame:
        """Units whose description or strong examples say all the words, best first.

        The columns are those of `tidy`, and `found`: how many of the strong examples say them.
        """
        from saywell.store.records import search_units

        return search_units(self, words, limit=limit)

    def tidy(self) -> pl.DataFrame:
        """One row per unit: its words, score and floor, who verifies it, and one example.

        Best first; see `saywell.store.records.tidy_table` for the columns.
        """
        from saywell.store.records import tidy_table

        return tidy_table(self)

    def best(self, number: int = 10) -> list[Unit]:
        """A few verified units to begin with: of sure skill, short, and unlike each other."""
        from saywell.store.records import best_units

        return best_units(self, number)

    def readers(self) -> pl.DataFrame:
        """By reader: how many descriptions it tested, and how many of them it verifies."""
        from saywell.store.records import readers_of

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
        if "descriptions" in self.manifest.tables:
            described = f", {self.descriptions.filter(status='described').height} described"
        return f"Study({str(self.path)!r}, {self.manifest.kind}, {self.manifest.status}{described})"

    def _repr_html_(self) -> str:
        """A compact card for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(m.name)}</td><td style='text-align:right'>{_figure(m)}</td></tr>"
            for m in (self.headline() if (self.path / "metrics.json").exists() else [])
        )
        return f"<div><b>{escape(repr(self))}</b><table>{rows}</table></div>"


class StudyWriter(Study):
    """A study that this process is writing. Made by `write_study`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest

    def table(self, name: str, make: Callable[[], pl.DataFrame] | None = None) -> pl.DataFrame:
        """The stored table; without one, the table that `make` returns, checked and stored."""
        if name in self.manifest.tables or make is None:
            return super().table(name)
        started = time.monotonic()
        table = check_table(name, make())
        path = self.path / f"{name}.parquet"
        write_parquet(path, table)
        self.manifest.tables[name] = StoredTable(
            schema_version=SCHEMAS[name].version,
            rows=table.height,
            hash=file_hash(path),
            seconds=round(time.monotonic() - started, 3),
        )
        self.save()
        return table

    def tables(self, names: tuple[str, ...], make: Callable[[], tuple[pl.DataFrame, ...]]) -> None:
        """Several tables of one step: made together, stored one by one."""
        if all(name in self.manifest.tables for name in names):
            return
        for name, table in zip(names, make(), strict=True):
            self.table(name, lambda table=table: table)

    def write_metrics(self, metrics: list[Metric]) -> None:
        """Store the headline figures."""
        write_json(self.path / "metrics.json", [metric.model_dump() for metric in metrics])

    def note(self, sentence: str) -> None:
        """Something that a reader of the figures has to know."""
        if sentence not in self.manifest.notes:
            self.manifest.notes.append(sentence)

    def save(self) -> None:
        """Write study.json."""
        write_json(self.path / "study.json", self.manifest.model_dump())


@contextmanager
def write_study(
    path: str | Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    command: list[str] | None = None,
) -> Iterator[StudyWriter]:
    """Begin a study, or go on with one that was stopped; only one process at a time.

    Raises StudyError when another process is writing it, and when the folder holds a study made
    from other inputs or with other settings; the message shows both values of each.
    """
    from filelock import FileLock, Timeout

    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{str(folder)!r} is a file; a study is a folder: choose another --out")
    if folder.is_dir() and not (folder / "study.json").exists() and _holds_files(folder):
        raise StudyError(
            f"{str(folder)!r} holds files but no study; choose an empty or new folder for --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"another process is writing the study {str(folder)!r}; wait for it or choose another --out"
        ) from None
    try:
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
        study.manifest.status, study.manifest.stopped_by = "running", None
        study.save()
        try:
            yield study
        except BaseException as error:
            study.manifest.status, study.manifest.stopped_by = "stopped", _reason(error)
            study.save()
            raise
        study.manifest.status = "complete"
        study.manifest.finished = study.manifest.finished or _now()
        study.save()
    finally:
        lock.release()


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(_no_study(folder))
    try:
        manifest = Manifest.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise StudyError(f"{str(path)!r} is not a manifest that saywell wrote: {error}") from error
    if manifest.schema_version != STUDY_VERSION:
        raise StudyError(
            f"the study {str(folder)!r} has format {manifest.schema_version}, this saywell reads"
            f" {STUDY_VERSION}; use the version that wrote it ({manifest.versions.get('saywell')})"
        )
    return manifest


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


def _refuse_differences(folder: Path, stored: Manifest, wanted: Manifest) -> None:
    differences = [
        f"  {name}: the study has {old.get(name)!r}, this run has {new.get(name)!r}"
        for old, new in (
            ({"kind": stored.kind}, {"kind": wanted.kind}),
            (stored.config, wanted.config),
            (stored.inputs, wanted.inputs),
        )
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise StudyError(
            f"the study {str(folder)!r} was made with other inputs:\n"
            + "\n".join(differences)
            + "\nchoose another --out, or delete the study to make it anew"
        )


def _holds_files(folder: Path) -> bool:
    """Whether a folder holds something that is not ours; calls may be stored before the rest."""
    return any(
        item.name != ".lock" and not item.name.startswith("calls.sqlite")
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
