"""What a dry run counted, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from saywell.studies.llm import Plan


def print_plan(plan: Plan, *, json: bool) -> None:
    """What can be done, and what it would ask a language model, a line per step."""
    import dataclasses
    import json as json_module

    steps = plan.steps
    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(step) for step in steps], indent=2))
        return
    typer.echo(f"{plan.of}; options, columns and files can be used")
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
