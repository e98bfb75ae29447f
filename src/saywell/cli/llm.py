"""From the options of a command to a language model that is ready to be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from saywell.language_models import StepPlan


@contextmanager
def opened_llm(
    name: str,
    calls: Path,
    *,
    url: str | None,
    deadline: float,
    effort: str | None,
    reply_tokens: int,
    max_calls: int | None,
    max_usd: float | None,
    max_tokens: int | None,
    replay: bool,
    concurrency: int,
    dry_run: bool,
) -> Iterator[Any]:
    """The model called `name`, closed afterwards; None for `extractive`; counting in a dry run."""
    from saywell.errors import InputError
    from saywell.language_models import DryRun, Limits, open_language_model
    from saywell.language_models.opening import opened
    from saywell.language_models.providers import EXTRACTIVE

    if name == EXTRACTIVE and url is not None:
        raise InputError(f"--llm-url needs --llm PROVIDER:MODEL; --llm {name} asks no model")
    options: dict[str, Any] = {
        "url": url,
        "deadline": deadline,
        "effort": effort,
        "most_reply_tokens": reply_tokens,
        "limits": Limits(max_calls=max_calls, max_usd=max_usd, max_tokens=max_tokens),
        "replay": replay or dry_run,
        "concurrency": concurrency,
    }
    if dry_run and name != EXTRACTIVE and not calls.exists():
        with open_language_model(name, **options) as model:
            yield DryRun(model)
        return
    with opened(name, calls.parent, **options) as model:
        yield DryRun(model) if dry_run and model is not None else model


def print_plan(steps: list[StepPlan], *, json: bool) -> None:
    """What a dry run counted, a line per step."""
    import dataclasses
    import json as json_module

    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(step) for step in steps], indent=2))
        return
    if not steps:
        typer.echo("no language model would be asked anything")
        return
    typer.echo(f"{'step':<14}{'calls':>8}{'stored':>8}{'tokens in':>12}{'out, at most':>14}{'cost':>12}")
    for step in steps:
        cost = "unknown" if step.cost_usd is None else f"${step.cost_usd:.2f}"
        typer.echo(
            f"{step.step:<14}{step.calls:>8}{step.cached:>8}{step.input_tokens:>12}"
            f"{step.output_tokens:>14}{cost:>12}"
        )
    if any(step.cost_usd is None for step in steps):
        typer.echo("\nNo price of this model is known: add it to prices.toml (saywell doctor)")
    if any(step.guessed for step in steps):
        typer.echo("\nSteps that depend on earlier replies are estimates. Nothing was sent.")
