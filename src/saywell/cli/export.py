"""`saywell export`: a study's descriptions as one table to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import StudyFolder


def export(
    study: StudyFolder,
    to: Annotated[str, typer.Option(help="csv, parquet or jsonl.")],
    out: Annotated[Path | None, typer.Option(help="File to write; else standard output.")] = None,
) -> None:
    """Write one row per unit: its words, score and floor, who verifies it, and one example.

    In CSV an apostrophe stands before cells that a spreadsheet would run as a formula.
    """
    import sys

    from saywell.errors import InputError
    from saywell.store.exports import WRITERS
    from saywell.store.files import write_whole
    from saywell.store.study import Study

    if to not in WRITERS:
        raise InputError(f"--to {to!r} is no form to export to; choose {', '.join(WRITERS)}")
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
