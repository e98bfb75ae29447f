"""`saywell exam`: which describers can be believed, on units whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import LlmDeadline, LlmEffort, LlmReplyTokens

if TYPE_CHECKING:
    from saywell.studies.exam import Exam


def exam(
    describer: Annotated[
        list[str] | None, typer.Option(help="Describer to examine, repeatable; all by default.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="Who reads descriptions: sentence-encoder or lexical.")
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option(help="File of two-group tasks with gold descriptions, instead of rules.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Texts of each group of a task in each split.")] = 150,
    texts: Annotated[str | None, typer.Option(help="Texts to plant rules in, instead of the demo's.")] = None,
    tags: Annotated[str | None, typer.Option(help="Column of --texts with true topics.")] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Rules over drawn pictures, instead of texts.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Study folder to write.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Sentence encoder (minilm); with --images a dual encoder (planted).")
    ] = None,
    llm: Annotated[str, typer.Option(help="LLM to examine as a describer: PROVIDER:MODEL.")] = "extractive",
    seed: Annotated[int, typer.Option(help="Rules, splits and noise depend on it.")] = 0,
    llm_url: Annotated[str | None, typer.Option(help="Base URL of the LLM's endpoint.")] = None,
    llm_deadline: LlmDeadline = 600.0,
    llm_effort: LlmEffort = None,
    llm_reply_tokens: LlmReplyTokens = 16_384,
    max_calls: Annotated[int | None, typer.Option(help="Stop before more LLM calls.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Stop before spending more.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Stop before more tokens.")] = None,
    concurrency: Annotated[int, typer.Option(help="LLM requests under way at once.")] = 16,
    replay: Annotated[
        bool, typer.Option("--replay", help="Use stored LLM replies only; fail on a missing one.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine describers: how often are they right, and how often do they see what is not there?"""
    from saywell.cli.llm import opened_llm
    from saywell.cli.progress import terminal_progress
    from saywell.errors import InputError
    from saywell.language_models.providers import EXTRACTIVE
    from saywell.studies.exam import run_exam, run_task_exam

    if images:
        given = {
            "--tasks": tasks,
            "--texts": texts,
            "--tags": tags,
            "--reader": reader,
            "--llm": None if llm == EXTRACTIVE else llm,
        }
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} {str(value)!r} is for exams of texts; leave it out with --images")
        if llm_url is not None:  # it may hold a password, so it is not repeated
            raise InputError("--llm-url is for exams of texts; leave it out with --images")
        from saywell.studies.exam_images import run_image_exam

        result = run_image_exam(
            describers=describer,
            encoder=encoder,
            out=out,
            seed=seed,
            command=sys.argv,
            progress=terminal_progress,
        )
        print_exam(result, json=json)
        return
    if llm != EXTRACTIVE and out is None:
        raise InputError(f"the replies of --llm {llm!r} need a study to be kept in: give --out FOLDER")
    if tasks is not None and texts is not None:
        raise InputError("--tasks and --texts are two different exams: give one of them")
    calls = (out or Path()) / "calls.sqlite"
    with opened_llm(
        llm,
        calls,
        url=llm_url,
        deadline=llm_deadline,
        effort=llm_effort,
        reply_tokens=llm_reply_tokens,
        max_calls=max_calls,
        max_usd=max_usd,
        max_tokens=max_tokens,
        replay=replay,
        concurrency=concurrency,
        dry_run=False,
    ) as asked:
        shared = dict(
            describers=describer,
            reader=reader or "sentence-encoder",
            encoder=encoder or "minilm",
            llm=asked,
            out=out,
            seed=seed,
            command=sys.argv,
            progress=terminal_progress,
        )
        result = (
            run_exam(texts, tags=tags, **shared)  # type: ignore[arg-type]
            if tasks is None
            else run_task_exam(tasks, limit=limit, **shared)  # type: ignore[arg-type]
        )
    print_exam(result, json=json)


def print_exam(result: Exam, *, json: bool) -> None:
    """A line per describer, 80 columns wide without a column for calls."""
    import json as json_module

    if json:
        lines = result.summary.join(result.costs, on="describer", how="left").to_dicts()
        typer.echo(json_module.dumps(lines, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    summary = result.summary
    first = summary.row(0, named=True)
    noise = first["noise_units"]
    known = result.answers.filter(describer=first["describer"])["always_f1"].count()
    console.print(
        f"{known} units with a known truth, {noise} that follow no rule,"
        f" {first['units'] - known - noise} neurons nobody knows about"
    )
    if (readable := first.get("readable")) is not None:
        console.print(
            f"{readable} of {first['known']} true descriptions are verified by this reader;"
            " recovered counts those units only"
        )
    asked = bool(result.costs["calls"].sum())
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
    costs = {row["describer"]: row for row in result.costs.iter_rows(named=True)}
    for row in summary.iter_rows(named=True):
        cost = costs.get(row["describer"])
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
    console.print(
        "recovered: verified, and as good on unseen examples as 80 % of the true description\n"
        "off rule: of the verified, true of the unit but not half of what the rule says\n"
        "F1: of what the reader says, against the true rule\n"
        "false: verified, of units where there is nothing to see\n"
        "stated - got: F1 on the examples it was chosen by, minus F1 on unseen ones",
        style="dim",
    )


def _share(row: dict, name: str) -> str:
    if row.get(name) is None:
        return ""
    value, low, high = (100 * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)
