"""The studies that a server shows, each under a number; no path ever comes from an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from saywell.errors import StudyError
from saywell.explorer.probe import Probe
from saywell.explorer.sentences import build_sentences
from saywell.explorer.tables import Tables
from saywell.explorer.units import Listed, build_units, choices, units_by_verdict
from saywell.explorer.verdicts import HumanVerdicts
from saywell.report.card import StudyRows
from saywell.report.hypotheses import Findings
from saywell.report.hypothesis_words import goes_with, hypotheses_of, in_short, target_of
from saywell.report.listing import verdict_line
from saywell.store.study import Study


@dataclass(frozen=True)
class Opened:
    """A study that is being shown."""

    number: int
    study: Study
    tables: Tables
    listed: Listed
    """The same for the cards of a list."""
    verdicts: HumanVerdicts
    probe: Probe
    name: str
    about: str
    """What was studied: a model or an encoder."""
    choices: dict[str, list[Any]]
    tally: dict[str, int]
    verified: str
    """How many descriptions are, of how many units, by whom and beside which controls; "" without scores."""
    pictured: frozenset[str]
    """Examples that the study keeps a small picture of."""

    @property
    def placed(self) -> bool:
        """Whether its units have places in a model, as neurons have."""
        return bool(self.choices["layer"])

    @cached_property
    def findings(self) -> Findings:
        """What it says of hypotheses."""
        return Findings(self.tables)

    @property
    def asks(self) -> str:
        """What its hypotheses are about, as a heading."""
        return goes_with(self.findings.all, target_of(self.study.manifest.config))

    @property
    def front(self) -> str:
        """The address of what it found: hypotheses where there are any, else units."""
        return f"{self.home}hypotheses" if self.tables.has("hypotheses") else self.home

    @cached_property
    def counted(self) -> bool:
        """Whether it is known how often its units fire at tokens."""
        return bool(self.tables.rows("select 1 from cards where density is not null limit 1"))

    @cached_property
    def scored(self) -> bool:
        """Whether any of its descriptions has a score."""
        return bool(self.tables.rows("select 1 from cards where value is not null limit 1"))

    @property
    def home(self) -> str:
        """The address of its units."""
        return f"/{self.number}/"

    def close(self) -> None:
        """Let go of files and memory."""
        self.probe.close()
        self.tables.close()

    def people(self) -> dict[str, str]:
        """What the last person did with each item, by item."""
        return {item: verdict.action for item, verdict in self.verdicts.latest().items()}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def open_studies(
    folders: Sequence[str | Path],
    *,
    clock: Callable[[], datetime] = now,
    memory_mb: int = 1024,
    threads: int = 2,
) -> list[Opened]:
    """Open studies for reading, numbered from 1.

    Raises StudyError for a folder without a study, and for a study that has nothing to show yet.
    """
    return [
        _open(number, Path(folder), clock, memory_mb, threads) for number, folder in enumerate(folders, 1)
    ]


def _open(number: int, folder: Path, clock: Callable[[], datetime], memory_mb: int, threads: int) -> Opened:
    study = Study(folder)
    manifest = study.manifest
    tables = Tables(study, memory_mb=memory_mb, threads=threads)
    if not any(map(tables.has, ("units", "classes", "descriptions"))):
        raise StudyError(
            f"the study {str(folder)!r} ({manifest.kind}, {manifest.status}) has no table of units to show"
            " yet; run it to the end"
        )
    build_units(tables)
    if tables.has("class_texts"):
        build_sentences(tables)
    tables.lock()
    return Opened(
        number,
        study,
        tables,
        Listed(tables),
        HumanVerdicts(folder, clock),
        Probe(tables),
        folder.resolve().name or "study",
        _short(_about(study)),
        choices(tables),
        units_by_verdict(tables),
        _verified(study),
        frozenset(row["example"] for row in tables.rows("select example from thumbnails"))
        if tables.has("thumbnails")
        else frozenset(),
    )


def _about(study: Study) -> str:
    """What was studied: a target, a model, an encoder."""
    config, target = study.manifest.config, None
    if "hypotheses" in study.manifest.tables:
        target = target_of(config) or next((one.outcome for one in hypotheses_of(StudyRows(study))), None)
    named = map(config.get, ("model", "units", "encoder"))
    return str(target or next(filter(None, named), study.manifest.kind))


def _verified(study: Study) -> str:
    """How much is verified, in a line; empty where nobody was asked."""
    if "hypotheses" in study.manifest.tables:
        return in_short(hypotheses_of(StudyRows(study)))
    return verdict_line(study) if {"scores", "descriptions"} <= study.manifest.tables.keys() else ""


def _short(name: str) -> str:
    """A model's name; of a folder on somebody's disk only the last part."""
    return Path(name).name or name if name.startswith(("/", "~", ".")) else name
