"""`saywell calls`: what a study asked of language models, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson
from saywell.errors import InputError

if TYPE_CHECKING:
    from saywell.language_models.summary import StepSummary

_EVERY = 1.0
"""Seconds between two looks."""


def calls(
    study: Annotated[Path, typer.Argument(help="Study folder, or its calls.sqlite.")],
    step: Annotated[str | None, typer.Option(help="Only the calls of this step.")] = None,
    show: Annotated[
        str | None, typer.Option(metavar="KEY", help="Show the call with this key, or its start.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show how far a run is, until it ends. With --json, in lines.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Sum up a study's language-model calls by step, watch them, or show one call in full."""
    path = study / "calls.sqlite" if study.is_dir() else study
    if study.is_dir() and not path.exists():
        raise InputError(_no_calls(study))
    if show is not None:
        _show(path, show, json=json)
        return
    if watch:
        _watch(path, step, json=json)
        if json:
            return
    _sum_up(path, step, json=json)


def _watch(path: Path, step: str | None, *, json: bool) -> None:
    """Tells how far a run is as often as it says so itself, until nobody asks nor writes the study."""
    import time
    from contextlib import nullcontext, suppress

    from rich.console import Console

    from saywell.cli.progress import Terminal
    from saywell.language_models.summary import running
    from saywell.store.study import Study

    study = Study(path.parent) if (path.parent / "study.json").exists() else None
    terminal = Terminal(Console(highlight=False, markup=False))
    shown = nullcontext() if json else terminal.showing("nothing is asked just now")
    last: list[str] = []
    with suppress(KeyboardInterrupt), shown:  # of whoever looks; the run knows nothing of it
        while (tallies := running(path)) or (study is not None and study.is_being_written()):
            tallies = [tally for tally in tallies if step is None or tally.step == step]
            for tally in tallies:
                if not json:
                    terminal.asking()(tally)
                elif (line := tally.to_json()) not in last:
                    typer.echo(line)
            last = [tally.to_json() for tally in tallies]
            time.sleep(_EVERY)


def _show(path: Path, key: str, *, json: bool) -> None:
    """Everything that is stored of one call."""
    import json as json_module

    from saywell.language_models.summary import show_call
    from saywell.report.parts import visible

    found = show_call(path, key)
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


def _sum_up(path: Path, step: str | None, *, json: bool) -> None:
    """A line or two for each step, and what is asked just now."""
    import dataclasses
    import json as json_module

    from saywell.cli.terminal import plain
    from saywell.language_models.providers import same_model
    from saywell.language_models.summary import running, summarize_calls
    from saywell.report.parts import visible

    steps = summarize_calls(path, step)
    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(one) for one in steps], indent=2))
        return
    if not steps:
        typer.echo("no request was sent so far")
        return
    typer.echo(f"{'step':<16}{'calls':>7}{'faults':>7}{'tokens in':>11}{'out':>9}{'s/call':>8}{'cost':>13}")
    for one in steps:
        typer.echo(_line(visible(one.step), [one]))
        outcome = ", ".join(f"{count} {status}" for status, count in one.statuses.items())
        typer.echo(f"  {visible(one.model)}: {outcome}")
        if one.reasons:
            typer.echo(f"  failed: {plain(', '.join(f'{why} ({n})' for why, n in one.reasons.items()))}")
        if one.cut:
            typer.echo(f"  {one.cut:,} with data cut to what the model reads: --show KEY has [...] where")
        asked = one.model.partition(":")[2] or one.model
        others = [name for name in one.replied_models if not same_model(asked, name)]
        if others:
            typer.echo(f"  answered by {visible(', '.join(others))}")
    if len(steps) > 1:
        typer.echo(_line("all", steps))
    if estimated := sum(one.estimated for one in steps):
        typer.echo(f"~ with {estimated} calls whose tokens nobody reported, at the most they may have taken")
    for tally in running(path):
        if not tally.over and step in (None, tally.step):
            typer.echo(f"now: {plain(tally.line())}")


def _line(name: str, ones: list[StepSummary]) -> str:
    calls = sum(one.calls for one in ones)
    unknown = sum(one.cost_unknown for one in ones)
    about = "~" if any(one.estimated for one in ones) else ""
    cost = f"{about}${sum(one.cost_usd for one in ones):.4f}"
    if unknown:
        cost = "unknown" if cost.endswith("$0.0000") else f">{cost}"
    ended = [one.ended for one in ones]  # also those that could not be sent
    seconds = sum(one.seconds * n for one, n in zip(ones, ended, strict=True)) / max(sum(ended), 1)
    return (
        f"{name[:15]:<16}{calls:>7}{sum(one.faults for one in ones):>7}"
        f"{about + str(sum(one.input_tokens for one in ones)):>11}"
        f"{about + str(sum(one.output_tokens for one in ones)):>9}"
        f"{seconds:>8.2f}{cost:>13}"
    )


def _no_calls(folder: Path) -> str:
    """Why a folder has no calls file: it is no study, or one that asked no language model."""
    from saywell.store.study import Study

    asked = Study(folder).manifest.config.get("llm")
    why = f"with {asked!r}" if asked else "without one"
    return f"the study {str(folder)!r} asked no language model so far (it was made {why})"
