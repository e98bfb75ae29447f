"""Arguments and options that several commands have, said once; those of a question are its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path, typer.Option(help="Study folder to write.")]
PlanOnly = Annotated[
    bool, typer.Option("--dry-run", help="Check all options; print LLM calls, tokens, cost; send nothing.")
]
StudyFolder = Annotated[Path, typer.Argument(help="Study folder.")]
