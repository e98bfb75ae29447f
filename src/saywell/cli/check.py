"""`saywell check`: are somebody else's descriptions true?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out
from saywell.studies.settings import CheckSettings

if TYPE_CHECKING:
    from saywell.store.study import Study


@command
def check(
    descriptions: Annotated[
        str,
        typer.Argument(
            help="Neuronpedia's JSON or folder, delphi's explanations, CSV, Parquet, JSON lines, a study."
        ),
    ],
    examples: Annotated[
        str | None, typer.Argument(help="Without --study: texts or pictures, as of saywell features.")
    ] = None,
    *,
    out: Out,
    study: Annotated[Path | None, typer.Option(help="Finished study of the same units.")] = None,
    model: Annotated[str | None, typer.Option(help="Without --study: model, as of saywell features.")] = None,
    dictionary: Annotated[
        str | None, typer.Option(help="Without --study: the dictionary that the latents are of.")
    ] = None,
    show: Annotated[int, typer.Option(help="Descriptions to show.", min=0)] = 10,
    settings: CheckSettings,
    json: AsJson = False,
) -> None:
    """Put descriptions that others wrote to the test.

    \b
    of any units, on a study of them  --study STUDY
    of latents, on your own examples  EXAMPLES --model M --at HOOK --dictionary D

    With --study its own descriptions are read beside them. Units are told by their ids, or
    by their numbers; which of several layers or dictionaries is meant, --only says.
    """
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.errors import InputError
    from saywell.studies.check import check_descriptions, check_features

    how = {"out": out, "settings": settings, "command": sys.argv, "progress": Terminal()}
    if study is not None:
        if examples or model or dictionary:
            raise InputError("--study has examples and units: leave out others, --model and --dictionary")
        checked = check_descriptions(descriptions, study, **how)
        if not json:
            _print_checked(checked, show)
        print_study(checked, json=json, top=0)
        return
    if examples is None or dictionary is None:
        raise InputError(
            "what are they held against? --study STUDY, or examples of your own with --dictionary D,"
            " --model M and --at HOOK"
        )
    checked = check_features(descriptions, examples, model=model, dictionary=dictionary, **how)
    print_study(checked, json=json, top=show)


def _print_checked(checked: Study, top: int) -> None:
    """What was brought, the surest first, and beside it what the study says."""
    import polars as pl

    from saywell.cli.terminal import fitted, open_console, plain

    console = open_console()
    table = checked.table("checked").sort(
        pl.col("status") == "verified", "skill_low", descending=True, nulls_last=True, maintain_order=True
    )
    for row in table.head(top).iter_rows(named=True):
        score = "" if row["value"] is None else f"F1 {row['value']:.2f}, floor {row['control']:.2f}"
        own = "" if row["own"] is None else f"own, {row['own_status']}: {row['own']}"
        vague = f"fits {row['fits']} other units as well" if row["fits"] else ""
        head = f"{row['unit']}  {row['status']}  {score}"
        console.print(plain(fitted(head, console.width)), style="bold", markup=False)
        console.print(plain(fitted(f"   {row['text']}", console.width)), markup=False)
        if facts := " · ".join(filter(None, [vague, own])):
            console.print(plain(fitted(f"   {facts}", console.width)), style="dim", markup=False)
    if table.height > top:
        console.print(f"{table.height - top} more in checked.parquet", style="dim")
    console.print()
