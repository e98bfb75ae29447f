"""`saywell features`: describe the latents of a dictionary."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from saywell.cli.command import command
from saywell.cli.options import AsJson, Out, PlanOnly
from saywell.studies.settings import FeatureSettings


@command
def features(
    examples: Annotated[
        str,
        typer.Argument(help="Texts (Parquet, CSV, JSONL, lines ...), or pictures (a folder, Parquet ...)."),
    ],
    *,
    out: Out,
    model: Annotated[
        str | None, typer.Option(help="Model by folder, hub name, or 'minilm'; see --at.")
    ] = None,
    dictionary: Annotated[
        str | None,
        typer.Option(
            help="A dictionary that somebody trained: file, folder or hub name; SAELens, Gemma Scope, Qwen"
            " Scope, sparsify, dictionary_learning, tensors."
        ),
    ] = None,
    settings: FeatureSettings,
    dry_run: PlanOnly = False,
    json: AsJson = False,
) -> None:
    """Say what the latents of a dictionary (SAE, transcoder) respond to.

    \b
    somebody's dictionary  --model M --at HOOK --dictionary FOLDER
    one of your own        --model M --at HOOK --train batchtopk:4096:32
    of sentence vectors    --on embeddings --encoder minilm --train topk:1024:16

    `saywell places M` lists the hook points of a model. A stopped run goes on when
    the same command is given again.
    """
    from saywell.cli.llm import print_plan
    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_study
    from saywell.studies.features import describe_features, plan_features

    brought = {"model": model, "dictionary": dictionary, "settings": settings}
    if dry_run:
        print_plan(plan_features(examples, out=out, **brought), json=json)
        return
    study = describe_features(examples, out=out, command=sys.argv, progress=Terminal(), **brought)
    print_study(study, json=json)
