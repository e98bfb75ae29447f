"""`saywell exam`: which describers can be believed, on units whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, PlanOnly
from saywell.studies.settings import ExamSettings

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from saywell.studies.exam import Exam


@command
def exam(
    settings: ExamSettings,
    out: Annotated[Path | None, typer.Option(help="Study folder to write.")] = None,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Examine describers: how often are they right, and how often do they see what is not there?"""
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.studies.exam import plan_exam, run_exam

    if dry_run:
        print_plan(plan_exam(settings=settings, out=out), json=json)
        return
    result = run_exam(settings=settings, out=out, command=sys.argv, progress=Terminal())
    print_exam(result, json=json)


def print_exam(result: Exam, *, json: bool) -> None:
    """A line per describer, 80 columns wide without a column for calls."""
    import json as json_module

    import polars as pl

    if json:
        lines = result.summary.join(result.costs, on="describer", how="left").to_dicts()
        typer.echo(json_module.dumps(lines, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    summary, answers = result.summary, result.answers
    if "reader" not in summary.columns:  # of a version whose exams had one
        summary, answers = (each.with_columns(reader=pl.lit("this reader")) for each in (summary, answers))
    first = summary.row(0, named=True)
    noise = first["noise_units"]
    known = answers.filter(reader=first["reader"], describer=first["describer"])["always_f1"].count()
    console.print(
        f"{known} units with a known truth, {noise} that follow no rule,"
        f" {first['units'] - known - noise} neurons nobody knows about"
    )
    for _, lines in summary.group_by("reader", maintain_order=True):
        _print_lines(console, lines, result.costs)
    console.print(
        "recovered: verified, and as good on unseen examples as 80 % of the true description\n"
        "off rule: of the verified, true of the unit but not half of what the rule says\n"
        "F1: of what the reader says, against the true rule\n"
        "false: verified, of units where there is nothing to see\n"
        "stated - got: F1 on the examples it was chosen by, minus F1 on unseen ones",
        style="dim",
    )


def _print_lines(console: Console, lines: pl.DataFrame, costs: pl.DataFrame) -> None:
    """What one reader makes of all describers."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    first = lines.row(0, named=True)
    if (readable := first.get("readable")) is not None:
        console.print(
            f"{readable} of {first['known']} true descriptions are verified by {escape(first['reader'])};"
            " recovered counts those units only"
        )
    asked = bool(costs["calls"].sum())
    table = Table(box=box.SIMPLE_HEAD, width=min(console.width, 80 + 7 * asked), pad_edge=False)
    table.add_column("describer", ratio=1)
    for column in (
        "recovered, %",
        "off rule, %",
        "F1",
        "false, %",
        "stated\n- got",
        *(["LLM\ncalls"] if asked else []),
        "time",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    by_name = {row["describer"]: row for row in costs.iter_rows(named=True)}
    for row in lines.iter_rows(named=True):
        cost = by_name.get(row["describer"])
        table.add_row(
            escape(row["describer"]),
            _share(row, "recovered"),
            _share(row, "off_rule"),
            _number(row["f1"]),
            _share(row, "false"),
            _number(row["bias"], "+.2f"),
            *([str(cost["calls"]) if cost else ""] if asked else []),
            f"{cost['seconds']:.0f} s" if cost else "",
        )
    console.print(table)
    points = [row for row in lines.iter_rows(named=True) if row.get("localised") is not None]
    if points:
        said = (f"{row['describer']} {100 * row['localised']:.0f} %" for row in points)
        console.print(f"points at the words that a rule is about: {', '.join(said)}", markup=False)
    if 0 < (first.get("beyond") or 0) < first["known"]:
        said = (f"{row['describer']} {_number(row['f1_beyond'])}" for row in lines.iter_rows(named=True))
        console.print(
            f"F1 of the {first['beyond']} whose rule no claim says exactly: {', '.join(said)}", markup=False
        )


def _share(row: dict, name: str) -> str:
    if row.get(name) is None:
        return ""
    value, low, high = (100 * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)
