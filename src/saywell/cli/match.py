"""`saywell match`: which units of another study are those of this one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson, StudyFolder

if TYPE_CHECKING:
    import polars as pl


def match(
    study: StudyFolder,
    other: Annotated[Path, typer.Argument(help="Another study of the same texts or pictures.")],
    by: Annotated[str, typer.Option(help="firing (at the same text), or decoder (direction).")] = "firing",
    out: Annotated[Path | None, typer.Option(help="File to write: .parquet, .csv or .jsonl.")] = None,
    top: Annotated[int, typer.Option(help="Pairs to show.", min=0)] = 10,
    json: AsJson = False,
) -> None:
    """Match the units of a study with those of another layer, seed, dictionary or model, one to one.

    What the other study says stands beside each pair; `saywell check FILE --study STUDY`
    puts it to the test on this study's units.
    """
    from saywell.cli.progress import Terminal
    from saywell.errors import InputError
    from saywell.exports.tables import WRITERS
    from saywell.store.files import write_whole
    from saywell.studies.match import match_studies

    form = "" if out is None else out.suffix.lstrip(".").lower()
    if out is not None and form not in WRITERS:
        raise InputError(f"--out {str(out)!r} is no table; end its name with .{', .'.join(WRITERS)}")
    if by not in ("firing", "decoder"):
        raise InputError(f"--by {by!r} is no way to match; choose firing or decoder")
    table = match_studies(study, other, by=by, progress=Terminal())  # type: ignore[arg-type]
    if out is not None:
        content = WRITERS[form](table)
        write_whole(out, lambda part: part.write_bytes(content))
    if json:
        typer.echo(table.write_json())
        return
    _print(table, by, top)
    if out is not None:
        typer.echo(str(out), err=True)


def _print(table: pl.DataFrame, by: str, top: int) -> None:
    from saywell.cli.terminal import fitted, open_console, plain

    console, matched = open_console(), table.filter("matched")
    for row in matched.head(top).iter_rows(named=True):
        values = ", ".join(
            f"{name} {row[name]:.2f}" for name in ("correlation", "cosine") if row[name] is not None
        )
        head = f"{row['unit']} is {row['other']}  {values}"
        console.print(plain(fitted(head, console.width)), style="bold", markup=False)
        for whose, text, status in (
            ("own", row["own"], row["own_status"]),
            ("other", row["text"], row["status"]),
        ):
            if text:
                console.print(plain(fitted(f"   {whose}, {status}: {text}", console.width)), markup=False)
        if row["parts"]:
            console.print(
                plain(fitted(f"   split into {', '.join(row['parts'])}", console.width)), markup=False
            )
    what = "correlation on score examples" if by == "firing" else "cosine of directions"
    chance = "" if table.is_empty() else f" (by chance up to {table['chance'].max():.2f})"
    found = matched["correlation" if by == "firing" else "cosine"].drop_nulls()
    said = (
        ""
        if found.is_empty()
        else f"; median {what} {found.median():.2f}, {(found >= 0.7).sum()} at 0.7 or more"
    )
    console.print(f"{matched.height} of {table.height} pairs are above chance{chance}{said}", markup=False)
