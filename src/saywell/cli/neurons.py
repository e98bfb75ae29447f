"""`saywell neurons`: describe a language model's neurons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import (
    AsJson,
    Concurrency,
    LlmDeadline,
    LlmEffort,
    LlmReplyTokens,
    LlmUrl,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    PlanOnly,
    Prompts,
    Replay,
)


def neurons(
    texts: Annotated[
        str, typer.Argument(help="Parquet, CSV, JSONL or plain lines; a saved dataset; a hub name.")
    ],
    model: Annotated[str, typer.Option(help="Model to study: folder, Hugging Face name, or 'minilm'.")],
    out: Annotated[Path, typer.Option(help="Study folder to write.")],
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    llm: Annotated[
        str, typer.Option(help="Who finds descriptors: 'extractive' or PROVIDER:MODEL.")
    ] = "extractive",
    llm_units: Annotated[
        int, typer.Option(help="Units that the LLM also scores as a reader; drawn by chance.")
    ] = 0,
    tags: Annotated[str | None, typer.Option(help="Column with tags to use as the descriptors.")] = None,
    gold: Annotated[
        str | None, typer.Option(help="Column with tags to compare with, seen by nobody.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="Sentence encoder that merges and tags.")] = "minilm",
    kind: Annotated[str, typer.Option(help="Units: ffn, residual or attention-head.")] = "ffn",
    layers: Annotated[str | None, typer.Option(help="Layers, such as 0,3-5; all by default.")] = None,
    modules: Annotated[
        str | None, typer.Option(help="Module paths, with commas, instead of searching.")
    ] = None,
    pool: Annotated[str, typer.Option(help="max, mean, cls or last token.")] = "max",
    top: Annotated[int, typer.Option(help="Exemplars per neuron and side.")] = 50,
    threshold: Annotated[float, typer.Option(help="Composition threshold, 0 to 1.")] = 0.5,
    limit: Annotated[int | None, typer.Option(help="Use that many texts, chosen by content.")] = None,
    seed: Annotated[int, typer.Option(help="Splits, samples and controls depend on it.")] = 0,
    random_control: Annotated[bool, typer.Option(help="Also run the model with random weights.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    prompts: Prompts = None,
    llm_url: LlmUrl = None,
    llm_deadline: LlmDeadline = 600.0,
    llm_effort: LlmEffort = None,
    llm_reply_tokens: LlmReplyTokens = 16_384,
    max_calls: MaxCalls = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = 16,
    dry_run: PlanOnly = False,
    replay: Replay = False,
    json: AsJson = False,
) -> None:
    """Say what each neuron of a language model responds to, and how far to believe it.

    A stopped run goes on when the same command is given again.
    """
    from saywell.cli.llm import opened_llm, print_plan
    from saywell.cli.progress import terminal_progress
    from saywell.cli.show import print_study
    from saywell.encoders.checkpoints import find_checkpoint
    from saywell.studies.neurons import describe_neurons, plan_neurons

    with opened_llm(
        llm,
        out / "calls.sqlite",
        url=llm_url,
        deadline=llm_deadline,
        effort=llm_effort,
        reply_tokens=llm_reply_tokens,
        max_calls=max_calls,
        max_usd=max_usd,
        max_tokens=max_tokens,
        replay=replay,
        concurrency=concurrency,
        dry_run=dry_run,
    ) as asked:
        if dry_run:
            find_checkpoint(model)
            plan_neurons(
                texts,
                asked,
                text=text,
                tags=tags,
                gold=gold,
                limit=limit,
                llm_units=llm_units,
                seed=seed,
                prompts=prompts,
            )
            print_plan(asked, json=json)
            return
        study = describe_neurons(
            texts,
            model,
            out=out,
            text=text,
            tags=tags,
            gold=gold,
            llm=asked,
            llm_units=llm_units,
            encoder=encoder,
            kind=kind,
            layers=parse_layers(layers),
            modules=modules.split(",") if modules else None,
            pool=pool,
            top=top,
            threshold=threshold,
            limit=limit,
            seed=seed,
            random_control=random_control,
            prompts=prompts,
            device=device,
            dtype=dtype,
            command=sys.argv,
            progress=terminal_progress,
        )
    print_study(study, json=json)


def parse_layers(text: str | None) -> list[int] | None:
    """`0,3-5` as [0, 3, 4, 5].

    Raises InputError for anything else.
    """
    from saywell.errors import InputError

    if text is None:
        return None
    layers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[0]) > int(ends[-1]):
            raise InputError(f"--layers {text!r} is not a list of layers; write it like 0,3-5")
        layers.extend(range(int(ends[0]), int(ends[-1]) + 1))
    return layers
