"""`saywell classes`: describe classes of images, and measure which descriptions help."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out, PlanOnly
from saywell.studies.settings import ClassSettings


@command
def classes(
    images: Annotated[
        str, typer.Argument(help="Folder of class folders, Parquet, CSV of path,label, saved dataset.")
    ],
    out: Out,
    settings: ClassSettings,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Describe classes of images, choose the descriptions that help, and show what they are worth.

    A stopped run goes on when the same command is given again.
    """
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.studies.classes import describe_classes, plan_classes

    if dry_run:
        print_plan(plan_classes(images, out=out, settings=settings), json=json)
        return
    study = describe_classes(images, out=out, settings=settings, command=sys.argv, progress=Terminal())
    print_study(study, json=json)
