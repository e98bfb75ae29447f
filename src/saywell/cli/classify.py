"""`saywell classify`: what images are, and which descriptions said so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import AsJson


def classify(
    study: Annotated[Path, typer.Argument(help="Study folder that `saywell classes` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(help="Classes to name for an image.")] = 3,
    texts: Annotated[int, typer.Option(help="Descriptions to show for a class.")] = 3,
    json: AsJson = False,
) -> None:
    """Say what each image shows, by the study's chosen descriptions alone, and which of them said so.

    Ends with 1 where no image could be read.
    """
    import json as json_module

    from saywell.studies.classes.classify import classify_images

    table = classify_images(study, images, classes=max(1, top), texts=max(0, texts))
    none = table["problem"].is_not_null().all()
    if json:
        typer.echo(json_module.dumps(table.to_dicts(), indent=2, ensure_ascii=False))
        raise typer.Exit(1 if none else 0)
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    for row in table.iter_rows(named=True):
        if row["rank"] == 1:
            console.print(f"[bold]{escape(row['file'])}[/]")
        if row["problem"]:
            console.print(f"  [red]not classified[/]: {escape(row['problem'])}")
            continue
        style = "bold" if row["rank"] == 1 else "dim"
        console.print(f"  [{style}]{escape(row['class'])}[/]  {row['score']:.3f}")
        for text, weight in zip(row["texts"], row["evidence"], strict=True):
            console.print(f"    {weight:+.1f}  {escape(text)}", style="" if weight > 0 else "dim")
    if none:
        raise typer.Exit(1)
    console.print(
        "[dim]Score: mean cosine with the class's texts. In front of a text: standard deviations"
        " above its mean over training images.[/]"
    )
