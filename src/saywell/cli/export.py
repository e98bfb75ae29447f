"""`saywell export`: a study in a form that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import StudyFolder


def export(
    study: StudyFolder,
    to: Annotated[
        str,
        typer.Option(
            help="csv, parquet, jsonl; neuronpedia, neuronpedia-jsonl, saedashboard, delphi, embedding-atlas."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write, else standard output; of other forms a new folder.")
    ] = None,
    model_id: Annotated[
        str | None, typer.Option(help="The model's id at Neuronpedia; else made of its name.")
    ] = None,
    source_set: Annotated[
        str | None, typer.Option(help="What follows the layer in the id of a source: 5-SET.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Of units that do not say of which.", min=0)] = None,
    texts: Annotated[int, typer.Option(help="Texts of a unit at most.", min=1)] = 20,
    verified: Annotated[bool, typer.Option("--verified", help="Units with a verified description.")] = False,
) -> None:
    """Write a study for other tools.

    csv, parquet and jsonl are a table with one row per unit: its words, score and floor, who
    verifies it, and one example; in CSV an apostrophe stands before cells that a spreadsheet
    would run. The others are folders, of the descriptions that stand for the units.
    """
    import sys

    from saywell.errors import InputError
    from saywell.exports.forms import FOLDERS, FORMS, write_folder
    from saywell.exports.shown import How
    from saywell.exports.tables import WRITERS
    from saywell.store.files import write_whole
    from saywell.store.study import Study

    if to not in FORMS:
        raise InputError(f"--to {to!r} is no form to export to; choose {', '.join(FORMS)}")
    if to in FOLDERS:
        if out is None:
            raise InputError(f"{to} is a folder of files: --out FOLDER")
        for note in write_folder(Study(study), to, out, How(model_id, source_set, layer, texts, verified)):
            typer.echo(note, err=True)
        typer.echo(str(out), err=True)
        return
    content = WRITERS[to](Study(study).tidy())
    if out is not None:
        if out.is_dir():
            raise InputError(
                f"--out {str(out)!r} is a folder; name a file, such as {out / f'descriptions.{to}'}"
            )
        write_whole(out, lambda part: part.write_bytes(content))
        typer.echo(str(out), err=True)
    elif to == "parquet" and sys.stdout.isatty():
        raise InputError("Parquet is no text for a terminal: give --out FILE")
    else:
        typer.get_binary_stream("stdout").write(content)
