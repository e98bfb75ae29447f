"""`saywell show`: a study's headline table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from saywell.cli.options import AsJson, StudyFolder

if TYPE_CHECKING:
    from rich.table import Table

    from saywell.store.study import Metric, Study

LEXICAL = " (lexical tags)"


def show(
    study: StudyFolder,
    json: AsJson = False,
) -> None:
    """Print a study's headline figures and its best-verified descriptions."""
    from saywell.store.study import Study

    print_study(Study(study), json=json)


def print_study(study: Study, *, json: bool) -> None:
    """The figures with interval, floor and ceiling, then the best descriptions."""
    if study.manifest.kind == "exam":
        from saywell.cli.exam import print_exam
        from saywell.studies.exam import stored_exam

        print_exam(stored_exam(study), json=json)
    elif json:
        _print_json(_facts(study))
    else:
        _print_tables(study)


def print_studies(studies: Sequence[Study], *, json: bool) -> None:
    """`print_study` of several; in JSON a list."""
    if json:
        _print_json([_facts(study) for study in studies])
        return
    for study in studies:
        _print_tables(study)
        typer.echo()


def _facts(study: Study) -> dict[str, object]:
    return {
        "path": str(study.path),
        "manifest": study.manifest.model_dump(),
        "metrics": [metric.model_dump() for metric in study.headline()],
    }


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))


def _print_tables(study: Study) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    width = min(console.width, 100)
    manifest = study.manifest
    console.print(f"[bold]{escape(str(study.path))}[/]  {manifest.kind}, {manifest.status}")
    for line in _class_counts(study) if manifest.kind == "classes" else _unit_counts(study):
        console.print(line)
    if (study.path / "metrics.json").exists():
        figures = study.headline()
        lexical = [m for m in figures if m.name.endswith(LEXICAL)]
        console.print(_figures([m for m in figures if m not in lexical], "held-out data", width))
        if lexical:
            console.print(_figures(lexical, "the same with lexical tags", width))
    if "scores" in manifest.tables:
        _best_descriptions(study, console, width)
    if "text_scores" in manifest.tables:
        _chosen_texts(study, console, width)
    if "recovered" in manifest.tables:
        recovered = study.table("recovered")
        found = recovered.filter(found=True).height
        console.print(f"Gold descriptors found: {found} of {recovered.height}")
    for note in manifest.notes:
        console.print(f"[dim]note: {escape(note)}[/]")
    report = study.path / "report.html"
    if report.exists():
        console.print(f"report: {escape(str(report))}", soft_wrap=True)


def _figures(figures: list[Metric], title: str, width: int) -> Table:
    """Figures with interval, the best of their controls and the nearest of their ceilings."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False)
    table.add_column(title, ratio=1)
    for column in ("value", "95 % interval", "control", "ceiling"):
        table.add_column(column, justify="right", no_wrap=True)
    for m in figures:
        interval = "" if m.ci_low is None else f"{m.ci_low:.2f} to {m.ci_high:.2f}"
        floor = max((v for v in m.controls.values() if v is not None), default=None)
        top = min((v for v in m.ceiling.values() if v is not None), default=None)
        name = m.name.removesuffix(LEXICAL)
        table.add_row(escape(name), _two(m.value), interval, _two(floor), _two(top))
    return table


def _unit_counts(study: Study) -> list[str]:
    if "units" not in study.manifest.tables:
        return []
    units, examples = study.units, study.examples
    splits = dict(examples["split"].value_counts().iter_rows())
    sizes = ", ".join(f"{splits.get(s, 0):,} {s}" for s in ("calibration", "validation", "test"))
    lines = [
        f"{examples.height:,} sentences ({sizes})",
        f"{units.filter(sign=1).height:,} {units['kind'][0]} units of {units['model'][0]}"
        f" in {units['layer'].n_unique()} layers, each going high and going low",
    ]
    if "scores" in study.manifest.tables:
        scores = study.verdicts()
        described, verified = scores.height, scores.filter(status="verified").height
        lines.append(
            f"{described:,} of {units.height:,} sides have a description, {verified:,} verified"
        )
    return lines


def _class_counts(study: Study) -> list[str]:
    if "class_texts" not in study.manifest.tables:
        return []
    from saywell.describers.class_describer import USABLE

    splits = dict(study.examples["split"].value_counts().iter_rows())
    sizes = ", ".join(f"{splits.get(s, 0):,} {s}" for s in ("train", "validation", "test"))
    texts = study.table("class_texts")
    usable = texts.filter(texts["status"].is_in(USABLE)).height
    return [
        f"{study.examples.height:,} images ({sizes}) of {study.table('classes').height:,} classes",
        f"{usable:,} texts that can be chosen; chosen by {study.manifest.config['select']}",
    ]


def _chosen_texts(study: Study, console, width: int) -> None:
    """Of every class the text that the study's rule puts first."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    first = study.table("text_scores").filter(
        rule=study.manifest.config["select"], chosen=True, rank=1
    )
    texts = study.table("class_texts").select("id", words="text")
    table = Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False)
    table.add_column("class", no_wrap=True)
    table.add_column("its first text", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in first.join(texts, left_on="text", right_on="id").head(20).iter_rows(named=True):
        table.add_row(escape(row["class"]), escape(row["words"]))
    console.print(table)


def _best_descriptions(study: Study, console, width: int) -> None:
    import polars as pl
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    best = (
        study.verdicts()
        .join(study.descriptions, left_on="description", right_on="id", suffix="_text")
        .filter(pl.col("status") == "verified")
        .sort("skill", descending=True)
        .unique("text", keep="first", maintain_order=True)
        .head(10)
    )
    if best.is_empty():
        console.print("no description was verified")
        return
    table = Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False)
    table.add_column("best verified", no_wrap=True)
    table.add_column("description", ratio=1, no_wrap=True, overflow="ellipsis")
    for column in ("F1", "95 % interval", "floor"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in best.iter_rows(named=True):
        table.add_row(
            escape(row["unit"]), escape(row["text"]), _two(row["value"]),
            f"{row['ci_low']:.2f} to {row['ci_high']:.2f}", _two(row["control"]),
        )  # fmt: skip
    console.print(table)


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
