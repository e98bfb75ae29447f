"""`saywell calls`: what a study asked of language models, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import AsJson
from saywell.errors import InputError


def calls(
    study: Annotated[Path, typer.Argument(help="Study folder, or its calls.sqlite.")],
    step: Annotated[str | None, typer.Option(help="Only the calls of this step.")] = None,
    show: Annotated[
        str | None, typer.Option(metavar="KEY", help="Show the call with this key, or its start.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Sum up a study's language-model calls by step, or show one call in full."""
    import dataclasses
    import json as json_module

    from saywell.language_models.providers import same_model
    from saywell.language_models.summary import StepSummary, show_call, summarize_calls
    from saywell.report.parts import visible

    path = study / "calls.sqlite" if study.is_dir() else study
    if study.is_dir() and not path.exists():
        raise InputError(_no_calls(study))
    if show is not None:
        found = show_call(path, show)
        if json:
            typer.echo(json_module.dumps(found, indent=2))
            return
        for call in found:
            for name, value in call.items():
                if name not in ("request", "text"):
                    typer.echo(f"{name:<14}{visible(str(value))}")
            for message in call["request"]["messages"]:
                content = message["content"]
                text = content if isinstance(content, str) else json_module.dumps(content)
                typer.echo(f"\n--- {message['role']}\n{visible(text)}")
            typer.echo(f"\n--- reply\n{visible(call['text'])}")
        return
    steps = summarize_calls(path, step)
    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(one) for one in steps], indent=2))
        return
    if not steps:
        typer.echo("no calls yet")
        return
    typer.echo(f"{'step':<16}{'calls':>7}{'faults':>7}{'tokens in':>11}{'out':>9}{'s/call':>8}{'cost':>13}")

    def line(name: str, ones: list[StepSummary]) -> str:
        calls = sum(one.calls for one in ones)
        unknown = sum(one.cost_unknown for one in ones)
        about = "~" if any(one.estimated for one in ones) else ""
        cost = f"{about}${sum(one.cost_usd for one in ones):.4f}"
        if unknown:
            cost = "unknown" if cost.endswith("$0.0000") else f">{cost}"
        tries = [sum(one.statuses.values()) for one in ones]  # also those that could not be sent
        seconds = sum(one.seconds * n for one, n in zip(ones, tries, strict=True)) / sum(tries)
        return (
            f"{visible(name)[:15]:<16}{calls:>7}{sum(one.faults for one in ones):>7}"
            f"{about + str(sum(one.input_tokens for one in ones)):>11}"
            f"{about + str(sum(one.output_tokens for one in ones)):>9}"
            f"{seconds:>8.2f}{cost:>13}"
        )

    for one in steps:
        typer.echo(line(one.step, [one]))
        outcome = ", ".join(f"{count} {status}" for status, count in one.statuses.items())
        typer.echo(f"  {visible(one.model)}: {outcome}")
        asked = one.model.partition(":")[2] or one.model
        others = [name for name in one.replied_models if not same_model(asked, name)]
        if others:
            typer.echo(f"  answered by {visible(', '.join(others))}")
    if len(steps) > 1:
        typer.echo(line("all", steps))
    if estimated := sum(one.estimated for one in steps):
        typer.echo(f"~ with {estimated} calls whose tokens nobody reported, at the most they may have taken")


def _no_calls(folder: Path) -> str:
    """Why a folder has no calls file: it is no study, or one that asked no language model."""
    from saywell.store.study import Study

    asked = Study(folder).manifest.config.get("llm")
    why = f"with {asked!r}" if asked else "without one"
    return f"the study {str(folder)!r} asked no language model so far (it was made {why})"
