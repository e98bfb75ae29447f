"""`saywell hypotheses`: what in texts goes with a target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out, PlanOnly
from saywell.studies.settings import HypothesisSettings


@command
def hypotheses(
    texts: Annotated[
        str, typer.Argument(help="Texts, or pairs of texts, with what goes with them (Parquet, CSV, JSONL).")
    ],
    *,
    out: Out,
    versus: Annotated[
        Path | None, typer.Option(help="Other texts, from which these are to be told apart.")
    ] = None,
    settings: HypothesisSettings,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Find what in texts goes with a target, and put it to the test.

    What goes with the texts is one of:

    \b
    --target stars                        a number, yes or no, or a few names
    --text a --pair b --target preferred  pairs: which of the two is favoured
    --versus OTHER, --between COLUMN      A versus B

    Half of the texts are kept for the test; nothing is found or chosen on them.
    """
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.studies.hypotheses import find_hypotheses, plan_hypotheses

    if dry_run:
        print_plan(plan_hypotheses(texts, out=out, versus=versus, settings=settings), json=json)
        return
    study = find_hypotheses(
        texts, out=out, versus=versus, settings=settings, command=sys.argv, progress=Terminal()
    )
    print_study(study, json=json, top=settings.report)
