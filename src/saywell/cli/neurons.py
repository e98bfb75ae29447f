"""`saywell neurons`: describe a language model's neurons."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out, PlanOnly
from saywell.studies.settings import NeuronSettings


@command
def neurons(
    texts: Annotated[
        str, typer.Argument(help="Parquet, CSV, JSONL or plain lines; a saved dataset; a hub name.")
    ],
    model: Annotated[str, typer.Option(help="Model to study: folder, Hugging Face name, or 'minilm'.")],
    out: Out,
    settings: NeuronSettings,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Say what each neuron of a language model responds to, and how far to believe it.

    A stopped run goes on when the same command is given again.
    """
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.studies.neurons import describe_neurons, plan_neurons

    if dry_run:
        print_plan(plan_neurons(texts, model, out=out, settings=settings), json=json)
        return
    study = describe_neurons(texts, model, out=out, settings=settings, command=sys.argv, progress=Terminal())
    print_study(study, json=json)
