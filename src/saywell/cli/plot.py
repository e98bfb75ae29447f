"""`saywell plot`: one chart of a study as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import AsJson, StudyFolder


def plot(
    study: StudyFolder,
    name: Annotated[str | None, typer.Argument(help="Which chart; none lists them.")] = None,
    out: Annotated[Path | None, typer.Option(help="File ending in .svg or .png; else NAME.svg here.")] = None,
    json: AsJson = False,
) -> None:
    """Save one of a study's charts as SVG or PNG, or list the charts it has."""
    import re
    from json import dumps

    from saywell.report.plots import plots_of, save_plot
    from saywell.store.study import Study

    opened = Study(study)
    if name is None:
        names = list(plots_of(opened))
        typer.echo(dumps(names) if json else "\n".join(names))
        return
    path = out or Path(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".svg")
    save_plot(opened, name, path)
    typer.echo(dumps({"path": str(path)}) if json else str(path))
