"""`saywell units`: describe whatever has a number for each example."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out, PlanOnly
from saywell.studies.settings import UnitSettings


@command
def units(
    examples: Annotated[
        str,
        typer.Argument(help="Texts (Parquet, CSV, JSONL, lines ...), or pictures (a folder, Parquet ...)."),
    ],
    *,
    out: Out,
    activations: Annotated[
        Path | None,
        typer.Option(help="Numbers, examples x units: .npy, .safetensors, .npz, or Parquet, wide or long."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --module: model by folder, Hugging Face name, or 'minilm'.")
    ] = None,
    directions: Annotated[
        Path | None, typer.Option(help="With --model: vectors at the module, .safetensors or .npy.")
    ] = None,
    settings: UnitSettings,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Say what units of your own respond to, and how far to believe it.

    A unit is anything with a number for each example. Give one of:

    \b
    --activations FILE  a file with one row for each row of EXAMPLES, in order,
                        or with a column of ids: example, id or row
    --column NAME       a column of EXAMPLES: a number, or a unit a name; of a
                        folder of pictures 'label', its folders' names
    --model M --module PATH --directions FILE
                        vectors or probes at a place of a model

    Pictures also need --vocabulary and --encoder.
    """
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.studies.units import describe_units, plan_units

    brought = {"model": model, "directions": directions, "settings": settings}
    if dry_run:
        print_plan(plan_units(examples, activations, out=out, **brought), json=json)
        return
    study = describe_units(examples, activations, out=out, command=sys.argv, progress=Terminal(), **brought)
    print_study(study, json=json)
