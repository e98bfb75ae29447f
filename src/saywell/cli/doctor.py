"""`saywell doctor`: which language-model providers can be used here, and what the others lack."""

from __future__ import annotations

import typer

from saywell.cli.options import AsJson


def doctor(json: AsJson = False) -> None:
    """Say which language-model providers are usable, and the line that mends the others."""
    import dataclasses
    import json as json_module
    import shlex

    from saywell.language_models.doctor import check_providers
    from saywell.language_models.providers import config_folder

    checks = check_providers()
    if json:
        typer.echo(json_module.dumps([dataclasses.asdict(check) for check in checks], indent=2))
        return
    for check in checks:
        typer.echo(f"{check.name:<18} {'yes' if check.usable else 'no ':<4}{check.state}")
        if check.fix:
            typer.echo(f"{'':<23}run: {check.fix}")
    models = [(check.name, model) for check in checks for model in check.models]
    if models:
        typer.echo("\nmodels on this machine, and the option that asks one:")
    for name, model in models:
        typer.echo(f"{model.program:<13} {model.size / 1e9:>6.1f} GB  {model.name}")
        typer.echo(f"{'':<25}--llm {shlex.quote(f'{name}:{model.path}')}")
    folder = config_folder()
    typer.echo(f"\nkeys may also stand in   {folder / 'keys.toml'} (chmod 600)")
    typer.echo(f"your own prices go into  {folder / 'prices.toml'}")
