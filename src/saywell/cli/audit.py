"""`saywell audit` and `saywell verify`: does a study say what its own files say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson, StudyFolder

if TYPE_CHECKING:
    import polars as pl


def audit(study: StudyFolder, json: AsJson = False) -> None:
    """Check a study's files, look for leaks, and derive every headline figure again.

    Exit code 1 when a check fails.
    """
    from saywell.store.study import Study
    from saywell.studies.audit import audit_study

    _print(audit_study(Study(study)), "check", json=json)


def verify(
    study: StudyFolder,
    unit: Annotated[str, typer.Argument(help="Such as layer.3/1207; layer.3/1207- going low.")],
    json: AsJson = False,
) -> None:
    """Derive everything that a study claims of one unit again, from its activations.

    Exit code 1 when a claim does not follow.
    """
    from saywell.store.study import Study
    from saywell.studies.audit import verify_unit

    _print(verify_unit(Study(study), unit), "claim", json=json)


def _print(rows: pl.DataFrame, what: str, *, json: bool) -> None:
    failed = rows.filter(rows["status"] == "failed").height
    if json:
        typer.echo(rows.write_json())
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        for row in rows.iter_rows(named=True):
            detail = row.get("detail") or f"{row['stored']}" + (
                "" if row["status"] == "ok" else f", not {row['again']}"
            )
            mark = Text(f"{row['status']:<7}", "green" if row["status"] == "ok" else "bold red")
            console.print(mark + Text(f"{row[what]}: {detail}"))
        console.print(f"{rows.height} {what}s, {failed} failed")
    if failed:
        raise typer.Exit(1)
